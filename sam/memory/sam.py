"""Sparse Access Memory (Rae et al. 2016, sections 3.1-3.5)."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from index import Base, IndexConfig, VectorStore
from sam.memory.protocol import Field
from sam.memory.sam_state import SAMControls, SAMState, access_fields
from sam.memory.sparse_start import DTYPES, check_available, fitting_index, sparse_start
from sam.memory.sparse_steps import begin_step, check_state, end_step, find_nearest
from sam.ops.similarity import gathered_cosine, gathered_distance, softmax
from sam.ops.sparse import SparseWeights
from sam.setting_checks import check_at_most, check_choice, check_fraction, check_sizes
from sam.store.access_order import AccessOrder
from sam.store.companions import join
from sam.store.word_store import WordStore


@dataclass(frozen=True, kw_only=True, slots=True)
class SAMMemory:
    """Settings and step of the memory.

        w^W_t = alpha_t (gamma_t w^R_{t-1} + (1 - gamma_t) I_t)                     (eq. 5, 9)
        M_t   = (1 - I_t 1^T) o M_{t-1} + w^W_t a_t^T                               (eq. 3, 8)
        w^R_t = softmax_k(beta_t D(q_t, M_t(s_k))) over the K words nearest to q_t  (eq. 4)
        r_t   = sum_k w^R_t(k) M_t(s_k)

    I_t marks the least recently accessed word. Every head writes with its own controls, and H heads
    take H distinct such words. Words never written stay out of the search; while there are fewer
    than K, fewer are read. A head's weights are summed over heads before they are compared with
    `access_threshold`, and a word handed out but written with less stays the next to go.

    Args:
        memory_size: N, words.
        word_size: W.
        num_heads: H, read heads; each writes as well.
        top_k: K, words read a head.
        index: how the K nearest words are found; a name or an `IndexConfig`.
        access_threshold: delta; a word counts as accessed above it (0.005, section 3.2).
        shared_write: one write head for all, whose w^R_{t-1} is the mean over the read heads.
        strength: activation of beta, or "none" for beta = 1 as in the paper's parameter list.
        renormalise: False divides by the sum over all written words instead of the K read, the
            paper's truncated softmax; for comparison with dense reads only, it costs O(written
            words) a step and keeps them for the backward pass.
        similarity: "cosine", or "euclidean" for D = -|q - m|^2.
        compiled: whether a network takes compiled steps, which need numba; None takes them for
            float32 on the CPU where it is installed, see `index.compiled`. An index has a setting
            of its own, `IndexConfig.compiled`.

    Raises:
        ConfigError: a size is not positive, or a setting is not one, or does not fit the others.
        BackendMissingError: a package is missing that the index or `compiled` needs.

    Cost: a step takes the index's update and search, and O(H K W) time besides. In a network it
    keeps about H (K + 2) W numbers a batch row for the backward pass; `step`, called directly,
    keeps a few times as many. None of this depends on N.
    """

    memory_size: int = 1024
    word_size: int = 32
    num_heads: int = 4
    top_k: int = 4
    index: str | IndexConfig = "exact"
    access_threshold: float = 0.005
    shared_write: bool = False
    strength: Literal["oneplus", "softplus", "none"] = "oneplus"
    renormalise: bool = True
    similarity: Literal["cosine", "euclidean"] = "cosine"
    compiled: bool | None = None

    makes_room: ClassVar[bool] = True
    Controls: ClassVar[type[SAMControls]] = SAMControls
    State: ClassVar[type[SAMState]] = SAMState
    dtypes: ClassVar[tuple[torch.dtype, ...]] = DTYPES

    def __post_init__(self) -> None:
        check_sizes(memory_size=self.memory_size, word_size=self.word_size)
        check_sizes(num_heads=self.num_heads, top_k=self.top_k)
        check_at_most("top_k", self.top_k, "memory_size", self.memory_size)
        if not self.shared_write:
            check_at_most("num_heads", self.num_heads, "memory_size", self.memory_size)
        check_fraction("access_threshold", self.access_threshold)
        check_choice("strength", self.strength, ("oneplus", "softplus", "none"))
        check_choice("similarity", self.similarity, ("cosine", "euclidean"))
        check_available(self, self._index_config())

    def _index_config(self) -> IndexConfig:
        """The index asked for, as the similarity needs it."""
        return fitting_index(self.index, self.metric, f", as similarity={self.similarity!r} says")

    @property
    def metric(self) -> Literal["cosine", "l2"]:
        """What the index compares by."""
        return "cosine" if self.similarity == "cosine" else "l2"

    @property
    def num_reads(self) -> int:
        return self.num_heads

    @property
    def num_writes(self) -> int:
        """V, write heads."""
        return 1 if self.shared_write else self.num_heads

    @property
    def fields(self) -> tuple[Field, ...]:
        return access_fields(self.num_heads, self.num_writes, self.word_size, self.strength)

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
    ) -> SAMState:
        """An empty memory, or one that holds `words` [n, W] or [B, n, W] in slots 0 .. n - 1.

        Loaded words can be read from the first step. They count as accessed before everything else,
        slot 0 first: it is written over once no empty slot is left, at once where n is N. A
        `reset` empties them too. They are copied and get no gradient.

        Over a `base` of n words slots 0 .. n - 1 are the base's, for all batch rows, until a row
        writes to one: it then has a word of its own there. All counts as with loaded words, but a
        `reset` goes back to the base. With `base_writes=False` no base word is written over for
        want of slots; what was read is still written to. In `read_weights` and `write_weights` a
        row counts its words from 0 on in the order in which it met them; see `slots_of`.

        With `room` there is space for so many slots at once, where it is known that they will be
        written to.

        Raises:
            ShapeError, NonFiniteError: `words` are none such; see `given_words`.
            ShapeError, ConfigError, TypeError: `base` is none of this memory; see `check_base`.

        Cost: a few kilobytes whatever `memory_size` is, with a base too; O(B n W) with words.
        """
        index, kind = self._index_config(), {"device": device, "dtype": dtype}
        over: Any = {"base": base, "base_writes": base_writes, "room": room}
        return join(sparse_start(self, index, batch_size, words=words, **kind, **over), self)

    @property
    def num_write_slots(self) -> int:
        """J, the slots that a write head writes to: those read before, and the one written over."""
        return self.num_heads // self.num_writes * self.top_k + 1

    check_state = check_state

    @property
    def slot_sizes(self) -> tuple[tuple[int, int | None], tuple[int, int | None]]:
        """Sizes of the slots of w^R and w^W beside the batch; None is any.

        The last step may have been one with another `top_k`.
        """
        return (self.num_heads, None), (self.num_writes, None)

    def control_shapes(self, batch_size: int) -> tuple[tuple[int, ...], ...]:
        """Shapes of the controls, in the order of `SAMControls`."""
        heads, writes, size = self.num_heads, (batch_size, self.num_writes), self.word_size
        return (batch_size, heads, size), (*writes, size), writes, writes, (batch_size, heads)

    def step(
        self, controls: SAMControls, state: SAMState, *, active: Tensor | None = None
    ) -> tuple[Tensor, SAMState]:
        """Writes, then reads; see the class. Consumes `state`.

        Batch rows outside of `active`, bool [B], stay as they are; what is read there is of no use.

        Raises:
            StaleStateError: the state was consumed already.
            ShapeError: state or controls do not fit these settings or one another.
            NonFiniteError: a word or key is NaN or infinite.
        """
        prev_read, lru_slots, write_gates = begin_step(self, controls, state, active)
        prev, bound = self.write_head_weights(prev_read), state.order.slot_bound

        # w^W_t = alpha_t (gamma_t w^R_{t-1} + (1 - gamma_t) I_t)                     (eq. 5, 9)
        alpha, gamma = write_gates[:, :, None], controls.interpolation_gates[:, :, None]
        again = alpha * gamma
        write = SparseWeights(
            torch.cat([prev.slots, lru_slots[:, :, None]], 2),
            torch.cat([again * prev.values, alpha - again], 2),
        )
        # M_t = (1 - I_t 1^T) o M_{t-1} + w^W_t a_t^T                                  (eq. 3, 8)
        words = state.words.write(*write, controls.adds, erase=lru_slots, slot_bound=bound)

        # s_k, the K words nearest to q_t                                          (section 3.5)
        written = write.slots.flatten(1)
        new_words = words.peek(written, slot_bound=bound)
        slots = find_nearest(state, written, new_words, controls.keys, self.top_k).slots
        found, words = words.read(slots, slot_bound=bound)

        # w^R_t = softmax_k(beta_t D(q_t, M_t(s_k)))                                      (eq. 4)
        scores = self._scores(controls, found)
        if self.renormalise:
            values = softmax(scores, slots >= 0)
        else:
            total, words = self._log_total(controls, words, state.order)
            values = (scores - total).exp().masked_fill(slots < 0, 0.0)
        # r_t = sum_k w^R_t(k) M_t(s_k)
        reads = torch.matmul(values[:, :, None, :], found)[:, :, 0]

        return reads, end_step(self, state, words, SparseWeights(slots, values), write, active)

    def write_head_weights(self, read: SparseWeights) -> SparseWeights:
        """w^R_{t-1} of each write head, [B, V, K]; of a shared one the mean over the read heads."""
        if not self.shared_write:
            return read
        batch_size = len(read.slots)
        values = read.values.reshape(batch_size, 1, -1) / self.num_heads
        return SparseWeights(read.slots.reshape(batch_size, 1, -1), values)

    def _scores(self, controls: SAMControls, words: Tensor) -> Tensor:
        """beta D(q, m) for words [B, H, K, W] gathered a head, [B, H, K]."""
        alike = gathered_cosine if self.similarity == "cosine" else gathered_distance
        scores = alike(controls.keys, words)
        return scores if controls.strengths is None else scores * controls.strengths[:, :, None]

    def _log_total(
        self, controls: SAMControls, words: WordStore, order: AccessOrder
    ) -> tuple[Tensor, WordStore]:
        """log sum_j exp(beta D(q, M(j))) over all written words, [B, H, 1]. O(written words)."""
        bound, keys = order.slot_bound, controls.keys
        slots = torch.arange(bound, device=keys.device).expand(len(keys), -1)
        written = slots < order.handed_out
        everything, words = words.read(slots, slot_bound=bound)
        scores = self._scores(controls, everything[:, None])
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~written[:, None], lowest).logsumexp(2, keepdim=True), words
