"""Sparse Differentiable Neural Computer (Rae et al. 2016, supplement D.1)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from index import Base, IndexConfig, VectorIndex, VectorStore
from sam import state as states
from sam import state_rows
from sam.memory import word_access, word_changes
from sam.memory.protocol import Field
from sam.memory.sam_state import begun_anew, rows_in_use, slots_of
from sam.memory.sparse_start import DTYPES, check_available, fitting_index, sparse_start
from sam.memory.sparse_steps import begin_step, check_state, end_step, find_nearest
from sam.ops.content import content_read
from sam.ops.mixing import mix_reads
from sam.ops.sharpening import sharpen_reads
from sam.ops.sparse import SparseWeights, sparse_read, sparse_write, write_values
from sam.ops.sparse_links import SparseLinks
from sam.setting_checks import (
    check_at_most,
    check_between,
    check_choice,
    check_fraction,
    check_sizes,
)
from sam.store.access_order import AccessOrder
from sam.store.companions import all_together, changed_together, join, together
from sam.store.word_store import WordStore

_MOST_SHARPENING = 100  # with more, powers of all but the largest weight are 0


class SDNCControls(NamedTuple):
    """What the controller tells the memory at one step."""

    keys: Tensor  # q, [B, R, W]
    modes: Tensor  # pi, sums to 1: backward, content, forward, [B, R, 3]
    adds: Tensor  # a, [B, 1, W]
    write_gates: Tensor  # alpha in (0, 1), [B, 1]
    interpolation_gates: Tensor  # gamma in (0, 1), [B, 1]: 1 writes where it read, 0 to a new word
    strengths: Tensor | None = None  # beta, [B, R]; None is 1 for every head


class SDNCState(NamedTuple):
    """The memory between two steps. Words, order, index and links are changed in place.

    The parts belong together: those of two states, or of two moments, are refused.
    """

    words: WordStore  # M
    read_weights: SparseWeights  # w^R of the last step, [B, R, K]
    write_weights: SparseWeights  # w^W of the last step, [B, 1, R K + 1], for the trace
    order: AccessOrder  # U^(2)
    # The written words; tuples have a method of this name, which nobody calls on a state.
    index: VectorIndex  # pyright: ignore[reportIncompatibleMethodOverride]
    links: SparseLinks  # N, P and p

    detach = together(states.detach)
    clone = together(states.clone)
    reset = changed_together(begun_anew)
    to = together(states.to)
    rows = together(rows_in_use)
    cat = staticmethod(all_together(state_rows.cat))
    put = changed_together(state_rows.put)
    batch_size = property(state_rows.batch_size)
    get = word_access.get
    slots_of = slots_of
    diff = word_changes.diff
    apply = changed_together(word_changes.apply_diff)
    words_in_use = property(word_access.words_in_use)
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    @together
    def resize(self, memory_size: int) -> "SDNCState":
        """The state of a larger memory; see `CellState.resize`."""
        words = self.words.resize(memory_size)
        self.order.resize(memory_size)
        self.index.resize(memory_size)
        self.links.resize(memory_size)
        return self._replace(words=words)


@dataclass(frozen=True, kw_only=True, slots=True)
class SDNCMemory:
    """Settings and step of the memory.

        w^W_t = alpha_t (gamma_t mean_r w^R_{t-1} + (1 - gamma_t) I_t)
        M_t   = (1 - I_t 1^T) o M_{t-1} + w^W_t a_t^T
        N_t   = links after the write of w^W_t, see `SparseLinks`
        b     = N_t^T w^R_{t-1},   f = N_t w^R_{t-1},   c = softmax_k(beta_t D(q_t, M_t(s_k)))
        w^R_t = the K largest of pi_1 b + pi_2 c + pi_3 f,   r_t = sum_k w^R_t(k) M_t(s_k)

    Writing, content addressing and the choice of the word to write over are SAM's with one write
    head. There is no allocation, no free gate and no content lookup for the write. The read weights
    may sum to less than 1, unless `read_sharpening` makes them sum to 1. Links and precedence get
    no gradient, so b and f are constants.

    Args:
        memory_size: N, words.
        word_size: W.
        num_reads: R, read heads.
        top_k: K, words a head looks up by content, and words it reads.
        num_links: K_L, links kept from and to a word (8, supplement D.1).
        index: how the K nearest words are found; a name or an `IndexConfig`.
        access_threshold: delta; a word counts as accessed above it (0.005, section 3.2).
        strength: activation of beta, or "none" for beta = 1.
        decay_sources: a word that is written loses the links that leave it as well, as in the DNC.
        read_sharpening: gamma, at least 1: the K weights m become m^gamma / sum m^gamma, as in an
            NTM (its paper's eq. 9), so that they neither fade nor blur along the links; 1 divides
            by their sum alone. None leaves them as mixed, as the paper does.
        compiled: whether a network takes compiled steps, which need numba; None takes them for
            float32 on the CPU where it is installed, see `index.compiled`.

    Raises:
        ConfigError: a size is not positive, or a setting is not one, or does not fit the others.
        BackendMissingError: a package is missing that the index or `compiled` needs.

    Cost: a step takes the index's update and search, O(R K W) for the words, O(R K K_L) for
    following the links and O(R K (R K + K_L^2)) for renewing them; it keeps about 2 (R K + 1) W
    numbers a batch row for the backward pass, nothing of the links. None depends on N. The links
    take 20 K_L bytes a slot in use.
    """

    memory_size: int = 1024
    word_size: int = 32
    num_reads: int = 4
    top_k: int = 4
    num_links: int = 8
    index: str | IndexConfig = "exact"
    access_threshold: float = 0.005
    strength: Literal["oneplus", "softplus", "none"] = "oneplus"
    decay_sources: bool = False
    read_sharpening: float | None = None
    compiled: bool | None = None

    makes_room: ClassVar[bool] = True
    Controls: ClassVar[type[SDNCControls]] = SDNCControls
    State: ClassVar[type[SDNCState]] = SDNCState
    dtypes: ClassVar[tuple[torch.dtype, ...]] = DTYPES

    def __post_init__(self) -> None:
        check_sizes(memory_size=self.memory_size, word_size=self.word_size)
        check_sizes(num_reads=self.num_reads, top_k=self.top_k, num_links=self.num_links)
        check_at_most("top_k", self.top_k, "memory_size", self.memory_size)
        check_fraction("access_threshold", self.access_threshold)
        check_choice("strength", self.strength, ("oneplus", "softplus", "none"))
        if self.read_sharpening is not None:
            check_between("read_sharpening", self.read_sharpening, 1, _MOST_SHARPENING)
        check_available(self, fitting_index(self.index, self.metric))

    @property
    def num_writes(self) -> int:
        """V, write heads."""
        return 1

    @property
    def num_write_slots(self) -> int:
        """J, the slots that a step writes to: those read before, and the one written over."""
        return self.num_reads * self.top_k + 1

    @property
    def metric(self) -> Literal["cosine"]:
        """What the index compares by."""
        return "cosine"

    @property
    def fields(self) -> tuple[Field, ...]:
        heads, size = self.num_reads, self.word_size
        fields = (
            Field("keys", (heads, size)),
            Field("modes", (heads, 3), "softmax"),
            Field("adds", (1, size)),
            Field("write_gates", (1,), "sigmoid"),
            Field("interpolation_gates", (1,), "sigmoid"),
        )
        if self.strength == "none":
            return fields
        return (*fields, Field("strengths", (heads,), self.strength))

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        words: Tensor | None = None,
        base: Base | VectorStore | None = None,
        base_writes: bool = True,
        room: int = 0,
    ) -> SDNCState:
        """An empty memory, or one that holds `words` [n, W] or [B, n, W] in slots 0 .. n - 1.

        Loaded words and a base are treated as by `SAMMemory.initial_state`; there are no links
        between them.

        Raises:
            ShapeError, NonFiniteError: `words` are none such; see `given_words`.
            ShapeError, ConfigError, TypeError: `base` is none of this memory; see `check_base`.

        Cost: a few kilobytes whatever `memory_size` is, with a base too; O(B n W) with words.
        """
        kind: Any = {"device": device, "dtype": dtype}
        index = fitting_index(self.index, self.metric)
        begins: Any = {"words": words, "base": base, "base_writes": base_writes, "room": room}
        start = sparse_start(self, index, batch_size, **begins, **kind)
        sizes = batch_size, self.memory_size, self.num_links
        links = SparseLinks(*sizes, decay_sources=self.decay_sources, **kind)
        if words is not None:
            links.reserve(start.words.capacity)
        return join(SDNCState(*start, links=links), self)

    def step(
        self, controls: SDNCControls, state: SDNCState, *, active: Tensor | None = None
    ) -> tuple[Tensor, SDNCState]:
        """Writes, renews the links, then reads; see the class. Consumes `state`.

        Batch rows outside of `active`, bool [B], stay as they are; what is read there is of no use.

        Raises:
            StaleStateError: the state was consumed already.
            ShapeError: state or controls do not fit these settings or one another.
            NonFiniteError: a word or key is NaN or infinite.
        """
        prev, lru_slots, write_gates = begin_step(self, controls, state, active)
        bound = state.order.slot_bound

        # w^W_t = alpha_t (gamma_t mean_r w^R_{t-1} + (1 - gamma_t) I_t)
        mean = prev.values.flatten(1).unsqueeze(1) / self.num_reads
        write = SparseWeights(
            torch.cat([prev.slots.flatten(1), lru_slots], 1).unsqueeze(1),
            write_values(mean, write_gates, controls.interpolation_gates),
        )
        # M_t = (1 - I_t 1^T) o M_{t-1} + w^W_t a_t^T
        words = sparse_write(state.words, write, controls.adds, erase=lru_slots, slot_bound=bound)

        # N_t after the write of w^W_t, f = N_t w^R_{t-1}, b = N_t^T w^R_{t-1}       (eq. 19-22)
        written = write.slots[:, 0]
        state.links.update(written, write.values[:, 0], slot_bound=bound)
        forward, backward = state.links.follow(prev.slots, prev.values)

        # c = softmax_k(beta_t D(q_t, M_t(s_k))) over the K words nearest to q_t
        new_words = words.peek(written, slot_bound=bound)
        slots = find_nearest(state, written, new_words, controls.keys, self.top_k).slots
        found, words = words.read(slots, slot_bound=bound)
        strengths = controls.strengths
        if strengths is None:
            strengths = torch.ones_like(controls.keys[..., 0])
        _, values = content_read(controls.keys, strengths, found, slots >= 0)
        content = SparseWeights(slots, values)

        # w^R_t = the K largest of pi_1 b + pi_2 c + pi_3 f
        read = mix_reads(controls.modes, backward, content, forward, self.top_k)
        if self.read_sharpening is not None:
            read = sharpen_reads(read, self.read_sharpening)
        # r_t = sum_k w^R_t(k) M_t(s_k)
        chosen, words = words.read(read.slots, slot_bound=bound)
        reads = sparse_read(chosen, read.values)

        return reads, end_step(self, state, words, read, write, active)

    check_state = check_state

    @property
    def slot_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Sizes of the slots of w^R and w^W beside the batch."""
        return (self.num_reads, self.top_k), (1, self.num_write_slots)

    def control_shapes(self, batch_size: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the controls, in the order of `SDNCControls`."""
        heads, size, gate = (batch_size, self.num_reads), self.word_size, (batch_size, 1)
        return (*heads, size), (*heads, 3), (*gate, size), gate, gate, heads
