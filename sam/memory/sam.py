"""Sparse Access Memory (Rae et al. 2016, sections 3.1-3.5)."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from index import IndexConfig, Neighbors
from index.compiled import is_compiled
from index.registry import as_index_config
from sam.errors import ConfigError, ShapeError
from sam.fast.fused_access import sparse_access
from sam.memory.protocol import Field
from sam.memory.sam_state import SAMControls, SAMState, access_fields
from sam.memory.sparse_steps import check_controls, mask_inactive, record_access, sparse_start
from sam.memory.together import check_active, check_parts, join
from sam.ops.similarity import gathered_cosine, gathered_distance, softmax
from sam.ops.sparse import SparseWeights, no_weights, sparse_read, sparse_write, write_values
from sam.setting_checks import check_at_most, check_choice, check_fraction, check_sizes
from sam.store.access_order import AccessOrder
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
        compiled: whether to use compiled twins of the steps, which need numba; None uses them for
            float32 on the CPU where they are installed, see `index.compiled`. An index has a
            setting of its own, `IndexConfig.compiled`.

    Cost: a step takes the index's update and search, and O(H K W) time besides; it keeps about
    H (K + 2) W numbers a batch row for the backward pass. Neither depends on N.
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

    Controls: ClassVar[type[SAMControls]] = SAMControls
    State: ClassVar[type[SAMState]] = SAMState

    def __post_init__(self) -> None:
        check_sizes(memory_size=self.memory_size, word_size=self.word_size)
        check_sizes(num_heads=self.num_heads, top_k=self.top_k)
        check_at_most("top_k", self.top_k, "memory_size", self.memory_size)
        if not self.shared_write:
            check_at_most("num_heads", self.num_heads, "memory_size", self.memory_size)
        check_fraction("access_threshold", self.access_threshold)
        check_choice("strength", self.strength, ("oneplus", "softplus", "none"))
        check_choice("similarity", self.similarity, ("cosine", "euclidean"))
        metric, fitting = as_index_config(self.index).metric, self._index_config().metric
        if metric not in (fitting, IndexConfig().metric):
            raise ConfigError(
                f"index: expected metric {fitting!r}, as similarity={self.similarity!r} says, "
                f"got {metric!r}"
            )

    def _index_config(self) -> IndexConfig:
        """The index asked for, with the metric of the similarity."""
        return replace(as_index_config(self.index), metric=self.metric)

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
    ) -> SAMState:
        """An empty memory, or one that holds `words` [n, W] or [B, n, W] in slots 0 .. n - 1.

        Loaded words can be read from the first step. They count as accessed before everything else,
        slot 0 first: it is written over once no empty slot is left, at once where n is N. A
        `reset` empties them too. They are copied and get no gradient.

        Raises:
            ShapeError, NonFiniteError: `words` are none such; see `given_words`.

        Cost: a few kilobytes whatever `memory_size` is; O(B n W) with words.
        """
        kind: Any = {"device": device, "dtype": dtype}
        store, order, index = sparse_start(
            batch_size,
            self.memory_size,
            self.word_size,
            num_writes=self.num_writes,
            index=self._index_config(),
            words=words,
            **kind,
        )
        state = SAMState(
            words=store,
            read_weights=no_weights(batch_size, self.num_heads, self.top_k, **kind),
            write_weights=no_weights(batch_size, self.num_writes, self._width, **kind),
            order=order,
            index=index,
        )
        return join(state, self)

    @property
    def _width(self) -> int:
        """J, the slots that a write head writes to."""
        return self.num_heads // self.num_writes * self.top_k + 1

    def check_state(self, state: SAMState, given: Tensor) -> None:
        """Checks a state before a step that is given a tensor [B, ...]; see `check_parts`.

        The last step may have been one with another `top_k`.
        """
        check_parts(state, self, given, read=(self.num_heads, None), write=(self.num_writes, None))

    def has_shapes(self, state: SAMState) -> bool:
        """Whether the last step read and wrote as many words as these settings say.

        Else the next one has to be plain. The first step after one with another `top_k` still
        writes where that one has read, so two of them are.
        """
        read, write = state.read_weights.slots, state.write_weights.slots
        return read.shape[2] == self.top_k and write.shape[2] == self._width

    def _shapes(self, batch_size: int) -> tuple[tuple[int, ...], ...]:
        """Of the controls."""
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
        keys = controls.keys
        self.check_state(state, keys)
        check_controls(controls, self._shapes(len(keys)), keys)
        check_active(active, len(keys), keys.device)
        oldest = state.order.oldest()  # l
        before = self._before(state.read_weights)
        if active is not None:
            before, oldest, gates = mask_inactive(active, before, oldest, controls.write_gates)
            controls = controls._replace(write_gates=gates)
        access = self._access_at_once if self.in_one_op else self._access
        reads, read, write, words = access(controls, state, before, oldest)
        last = state.read_weights, state.write_weights
        read, write = record_access(state.order, read, write, self.access_threshold, active, last)
        return reads, join(SAMState(words, read, write, state.order, state.index), self)

    def step_raw(
        self, values: Tensor, state: SAMState, active: Tensor | None
    ) -> tuple[Tensor, SAMState] | None:
        """`step` from what the interface's linear layer put out, by compiled twins.

        Args:
            values: p, [B, P]; overwritten.
            state, active: as `step`; the state is consumed.

        Returns:
            What `step` does, to rounding; or None, with nothing changed, where there is no
            compiled twin or it is not wanted.

        Raises:
            StaleStateError, ShapeError, NonFiniteError: as `step`.
        """
        if (
            type(self) is not SAMMemory
            or not self.in_one_op
            or not is_compiled(self.compiled, values.device, values.dtype)
        ):
            return None
        self.check_state(state, values)
        if not self.has_shapes(state):
            return None
        heads, writes, size = self.num_heads, self.num_writes, self.word_size
        width = (heads + writes) * size + 2 * writes + heads
        if values.shape[1:] != (width,):
            raise ShapeError(f"values: expected shape [B, P={width}], got {[*values.shape]}")
        check_active(active, len(values), values.device)
        from sam.fast.memory_step import step_memory
        from sam.fast.step_request import StepRequest

        last = state.read_weights
        given = StepRequest(
            *(state.words, state.order, state.index, last.slots, state.write_weights, active),
            threshold=self.access_threshold,
            least=self.least_strength,
        )
        reads, read, write, words = step_memory(given, values, last.values)
        return reads, join(SAMState(words, read, write, state.order, state.index), self)

    def _before(self, read: SparseWeights) -> SparseWeights:
        """w^R_{t-1} of each write head, [B, V, K]; of a shared one the mean over the read heads."""
        if not self.shared_write:
            return read
        batch_size = len(read.slots)
        values = read.values.reshape(batch_size, 1, -1) / self.num_heads
        return SparseWeights(read.slots.reshape(batch_size, 1, -1), values)

    def _find(
        self, controls: SAMControls, state: SAMState, slots: Tensor, words: Tensor
    ) -> Neighbors:
        """Tells the index what was written and asks it for the K words nearest to each key."""
        state.index.reserve(state.order.high)
        return state.index.exchange(slots, words, controls.keys, self.top_k)

    @property
    def in_one_op(self) -> bool:
        """Whether `sparse_access` covers these options."""
        return self.similarity == "cosine" and self.renormalise and self.strength != "none"

    @property
    def least_strength(self) -> float:
        """What is added to the softplus of beta."""
        return 1.0 if self.strength == "oneplus" else 0.0

    def _access_at_once(
        self, controls: SAMControls, state: SAMState, before: SparseWeights, oldest: Tensor
    ) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
        """The step as one op; the fast twin of `_access`."""
        assert controls.strengths is not None
        return sparse_access(
            state.words,
            partial(self._find, controls, state),
            before=before,
            oldest=oldest,
            below=state.order.high,
            alpha=controls.write_gates,
            gamma=controls.interpolation_gates,
            adds=controls.adds,
            keys=controls.keys,
            strengths=controls.strengths,
        )

    def _access(
        self, controls: SAMControls, state: SAMState, before: SparseWeights, oldest: Tensor
    ) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
        """The step op by op, for every option."""
        below = state.order.high
        write = SparseWeights(
            torch.cat([before.slots, oldest[:, :, None]], 2),
            write_values(before.values, controls.write_gates, controls.interpolation_gates),
        )
        words = sparse_write(state.words, write, controls.adds, erase=oldest, below=below)
        written = write.slots.flatten(1)
        slots = self._find(controls, state, written, words.peek(written, below=below)).slots
        gathered, words = words.read(slots, below=below)
        scores = self._scores(controls, gathered)
        if self.renormalise:
            values = softmax(scores, slots >= 0)
        else:
            total, words = self._log_total(controls, words, state.order, below)
            values = (scores - total).exp().masked_fill(slots < 0, 0.0)
        return sparse_read(gathered, values), SparseWeights(slots, values), write, words

    def _scores(self, controls: SAMControls, words: Tensor) -> Tensor:
        """beta D(q, m) for words [B, H, K, W] gathered a head, [B, H, K]."""
        alike = gathered_cosine if self.similarity == "cosine" else gathered_distance
        scores = alike(controls.keys, words)
        return scores if controls.strengths is None else scores * controls.strengths[:, :, None]

    def _log_total(
        self, controls: SAMControls, words: WordStore, order: AccessOrder, below: int
    ) -> tuple[Tensor, WordStore]:
        """log sum_j exp(beta D(q, M(j))) over all written words, [B, H, 1]. O(written words)."""
        slots = torch.arange(below, device=controls.keys.device).expand(len(controls.keys), -1)
        written = slots < order.handed_out
        everything, words = words.read(slots, below=below)
        scores = self._scores(controls, everything[:, None])
        lowest = torch.finfo(scores.dtype).min
        return scores.masked_fill(~written[:, None], lowest).logsumexp(2, keepdim=True), words
