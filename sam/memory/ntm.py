"""Neural Turing Machine (Graves et al. 2014, section 3)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from sam import state as states
from sam.memory import word_access
from sam.memory.protocol import Field
from sam.ops.addressing import ntm_weights
from sam.ops.dense import erase_add, read_words
from sam.ops.similarity import content_weights
from sam.setting_checks import check_choice, check_finite, check_sizes

Addressing = Literal["location", "content"]
InitialWeights = Literal["first", "uniform"]


class NTMControls(NamedTuple):
    """What the controller tells the memory at one step. The last six are None with
    `addressing="content"`."""

    read_keys: Tensor  # k of the read heads, [B, H, W]
    read_strengths: Tensor  # beta > 0, [B, H]
    write_keys: Tensor  # k of the write heads, [B, H, W]
    write_strengths: Tensor  # beta > 0, [B, H]
    erases: Tensor  # e in (0, 1), [B, H, W]
    adds: Tensor  # a, [B, H, W]
    read_gates: Tensor | None = None  # g in (0, 1), [B, H]: 0 stays where the head was
    read_shifts: Tensor | None = None  # s, sums to 1, [B, H, 2 S + 1]: from S back to S ahead
    read_gammas: Tensor | None = None  # gamma >= 1, [B, H]
    write_gates: Tensor | None = None
    write_shifts: Tensor | None = None
    write_gammas: Tensor | None = None


class NTMStart(NamedTuple):
    """What every batch row of a memory begins with; no tensors, so it stays as it is."""

    word: float
    weights: InitialWeights

    def head_weights(self, like: Tensor) -> Tensor:
        """w_0 of one head, [N], for weights [B, H, N]."""
        slots = like.shape[2]
        if self.weights == "uniform":
            return like.new_full((slots,), 1 / slots)
        return (torch.arange(slots, device=like.device) == 0).to(like.dtype)


class NTMState(NamedTuple):
    """The memory between two steps. No step changes it: it may be used again."""

    words: Tensor  # M, [B, N, W]
    read_weights: Tensor  # w^r of the last step, [B, H, N]
    write_weights: Tensor  # w^w of the last step, [B, H, N]
    start: NTMStart

    detach = states.detach
    clone = states.clone
    to = states.to
    get = word_access.get
    words_in_use = property(word_access.words_in_use)
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    def reset(self, mask: Tensor) -> "NTMState":
        """The state with the batch rows in `mask`, bool [B], back at the start of an episode."""
        rows, weights = mask[:, None, None], self.start.head_weights(self.read_weights)
        return self._replace(
            words=self.words.masked_fill(rows, self.start.word),
            read_weights=torch.where(rows, weights, self.read_weights),
            write_weights=torch.where(rows, weights, self.write_weights),
        )

    def resize(self, memory_size: int) -> "NTMState":
        """The state of a larger memory: new words are as at the start, and nobody looks there."""
        return self._replace(
            words=states.grown(self.words, memory_size, 1, fill=self.start.word),
            read_weights=states.grown(self.read_weights, memory_size, 2),
            write_weights=states.grown(self.write_weights, memory_size, 2),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class NTMMemory:
    """Settings and step of the memory.

        w^w_t = address(controls of the write heads, w^w_{t-1}, M_{t-1})            (eq. 5-9)
        M_t   = M_{t-1} o prod_h (1 - w^w_h e_h^T) + sum_h w^w_h a_h^T              (eq. 3-4)
        w^r_t = address(controls of the read heads, w^r_{t-1}, M_t)                 (eq. 5-9)
        r_t   = sum_i w^r_t(i) M_t(i)                                               (eq. 2)

    A head looks for its key, mixes what it finds with where it was, shifts that and sharpens it;
    see `sam.ops.addressing`. The paper leaves open whether a step reads before or after it writes;
    here it reads last, as the other memories do.

    Args:
        memory_size: N, words (128 in the paper's tables 1-3).
        word_size: W (20 there).
        num_heads: H read heads, and as many write heads.
        shift_range: S; a head moves by up to S slots a step, either way.
        addressing: "location" for all of eq. 5-9, or "content" for eq. 5-6 alone: a head looks at
            what resembles its key, and gates, shifts and gammas leave the interface.
        strength: activation of beta; the paper says no more than that it is positive.
        initial_weights: every head's w_0: all on slot 0 ("first"), or the same for all slots.
        initial_word: what every entry of M_0 is. The cosine is steep at a word of exactly 0; with
            1e-6 training has been reported to converge best (arXiv:1807.08518).

    Cost: O(N H (W + S)) time a step, in a fixed number of passes over the N W numbers of a batch
    row. A step keeps one copy of the words and 4 H + 2 numbers a word for the backward pass.
    """

    memory_size: int = 128
    word_size: int = 20
    num_heads: int = 1
    shift_range: int = 1
    addressing: Addressing = "location"
    strength: Literal["softplus", "oneplus"] = "softplus"
    initial_weights: InitialWeights = "first"
    initial_word: float = 1e-6

    Controls: ClassVar[type[NTMControls]] = NTMControls
    State: ClassVar[type[NTMState]] = NTMState

    def __post_init__(self) -> None:
        sizes = ("memory_size", "word_size", "num_heads", "shift_range")
        check_sizes(**{name: getattr(self, name) for name in sizes})
        check_choice("addressing", self.addressing, ("location", "content"))
        check_choice("strength", self.strength, ("softplus", "oneplus"))
        check_finite("initial_word", self.initial_word)
        check_choice("initial_weights", self.initial_weights, ("first", "uniform"))

    @property
    def num_reads(self) -> int:
        return self.num_heads

    @property
    def fields(self) -> tuple[Field, ...]:
        heads, size = self.num_heads, self.word_size
        fields = (
            Field("read_keys", (heads, size)),
            Field("read_strengths", (heads,), self.strength),
            Field("write_keys", (heads, size)),
            Field("write_strengths", (heads,), self.strength),
            Field("erases", (heads, size), "sigmoid"),
            Field("adds", (heads, size)),
        )
        if self.addressing == "content":
            return fields
        return fields + tuple(
            field
            for kind in ("read", "write")
            for field in (
                Field(f"{kind}_gates", (heads,), "sigmoid"),
                Field(f"{kind}_shifts", (heads, 2 * self.shift_range + 1), "softmax"),
                Field(f"{kind}_gammas", (heads,), "oneplus"),
            )
        )

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> NTMState:
        """Words that all are `initial_word`, heads where `initial_weights` says. Cost: O(B N W)."""
        start = NTMStart(float(self.initial_word), self.initial_weights)
        kind = {"device": device, "dtype": dtype}
        words = torch.full((batch_size, self.memory_size, self.word_size), start.word, **kind)
        weights = torch.empty((batch_size, self.num_heads, self.memory_size), **kind)
        weights.copy_(start.head_weights(weights))
        return NTMState(words, weights, weights.clone(), start)

    def step(self, controls: NTMControls, state: NTMState) -> tuple[Tensor, NTMState]:
        """Writes, then reads; see the class. The sizes are those of the state, not the settings."""
        write = self._address(
            (controls.write_keys, controls.write_strengths),
            (controls.write_gates, controls.write_shifts, controls.write_gammas),
            state.write_weights,
            state.words,
        )
        words = erase_add(state.words, write, controls.erases, controls.adds)
        read = self._address(
            (controls.read_keys, controls.read_strengths),
            (controls.read_gates, controls.read_shifts, controls.read_gammas),
            state.read_weights,
            words,
        )
        return read_words(words, read), NTMState(words, read, write, state.start)

    def _address(
        self,
        lookup: tuple[Tensor, Tensor],
        move: tuple[Tensor | None, Tensor | None, Tensor | None],
        previous: Tensor,
        words: Tensor,
    ) -> Tensor:
        """Weights [B, H, N] from (keys, strengths) and (gates, shifts, gammas) of H heads."""
        if self.addressing == "content":
            return content_weights(*lookup, words)
        gates, shifts, gammas = move
        assert gates is not None and shifts is not None and gammas is not None
        return ntm_weights(*lookup, gates, shifts, gammas, previous, words)
