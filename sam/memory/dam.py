"""Dense Access Memory, the dense control of SAM (Rae et al. 2016, section 3.2)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from sam import state as states
from sam.memory import word_access
from sam.memory.protocol import Field
from sam.memory.sam_state import SAMControls, access_fields
from sam.ops.decayed_usage import decayed_usage, least_used
from sam.ops.dense_access import dense_access
from sam.setting_checks import (
    check_at_most,
    check_choice,
    check_finite,
    check_fraction,
    check_sizes,
)


class DAMState(NamedTuple):
    """The memory between two steps. No tensor of it is changed in place."""

    words: Tensor  # M, [B, N, W]
    read_weights: Tensor  # w^R of the last step, [B, H, N]
    write_weights: Tensor  # w^W of the last step, [B, V, N], for the trace
    usage: Tensor  # U^(1), [B, N]
    initial_word: float  # every number of M_0; what a reset and a resize fill in

    detach = states.detach
    clone = states.clone
    to = states.to
    get = word_access.get
    words_in_use = property(word_access.words_in_use)
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    def reset(self, mask: Tensor) -> "DAMState":
        """Puts the batch rows in `mask`, bool [B], back to the initial state. Cost: O(B N W)."""
        words = self.words.masked_fill(mask[:, None, None], self.initial_word)
        return states.reset(self, mask)._replace(words=words)

    def resize(self, memory_size: int) -> "DAMState":
        """The state with more slots, which have never been accessed and so are written next.

        Raises:
            ConfigError: `memory_size` is smaller than N.
        """
        return self._replace(
            words=states.grown(self.words, memory_size, 1, fill=self.initial_word),
            read_weights=states.grown(self.read_weights, memory_size, 2),
            write_weights=states.grown(self.write_weights, memory_size, 2),
            usage=states.grown(self.usage, memory_size, 1),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DAMMemory:
    """Settings and step of the memory.

        w^W_t = alpha_t (gamma_t w^R_{t-1} + (1 - gamma_t) I_t)                     (eq. 5)
        M_t   = (1 - I_t 1^T) o M_{t-1} + w^W_t a_t^T                               (eq. 3)
        w^R_t = softmax_i(beta_t D(q_t, M_t(i))) over all N words                   (eq. 2)
        r_t   = sum_i w^R_t(i) M_t(i)                                               (eq. 1)
        U_t   = lambda U_{t-1} + w^W_t + w^R_t, summed over the heads               (U^(1))

    I_t marks the word that U_{t-1} says is used least, the lowest slot of equal ones. The paper has
    U_t there, which holds w^W_t and so I_t itself; what was accessed up to the last step is the
    reading that can be computed. Every head writes with its own controls, and H heads take the H
    least used words, in order. No gradient flows through U and the choice. The controls are SAM's.

    The erase is not gated: a head whose write gate is shut leaves a word of zeros, or nearly so.
    Of a short word the direction alone decides the cosine, so the gradient of D grows as the word
    shrinks, up to |q| / (n(q) sqrt(eps)), or 1000, at zero; there the epsilon in the norm ends it.
    Initial words below about sqrt(eps / W) are as good as zero in this. It does no harm: the
    weight of the one word is a factor of its gradient, initial words get none, and what goes on
    to a vector added is multiplied by the weight it was added with. In a memory of 64 words the
    gradient of an erased word is as long as those of the others, and that of the shut gate a few
    times the ordinary one; a test holds both to it.

    Args:
        memory_size: N, words.
        word_size: W.
        num_heads: H, read heads; each writes as well.
        decay: lambda, what is left of an access in the usage one step later. The paper gives no
            value; 0.99 is that of Santoro et al. 2016, from which it takes the scheme.
        shared_write: one write head for all, whose w^R_{t-1} is the mean over the read heads.
        strength: activation of beta, or "none" for beta = 1 as in the paper's parameter list.
        initial_word: every number of every word at the start of an episode.

    Raises:
        ConfigError: a size is not positive, more heads than words, or another setting is not one.

    Cost: a step takes O(H N W) time and keeps one copy of the words and 3 H N + N numbers a batch
        row for the backward pass: the weights, read and written, and the cosines.
    """

    memory_size: int = 1024
    word_size: int = 32
    num_heads: int = 4
    decay: float = 0.99
    shared_write: bool = False
    strength: Literal["oneplus", "softplus", "none"] = "oneplus"
    initial_word: float = 1e-6

    Controls: ClassVar[type[SAMControls]] = SAMControls
    State: ClassVar[type[DAMState]] = DAMState

    def __post_init__(self) -> None:
        sizes = ("memory_size", "word_size", "num_heads")
        check_sizes(**{name: getattr(self, name) for name in sizes})
        check_at_most("num_heads", self.num_writes, "memory_size", self.memory_size)
        check_fraction("decay", self.decay)
        check_choice("strength", self.strength, ("oneplus", "softplus", "none"))
        check_finite("initial_word", self.initial_word)

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
    ) -> DAMState:
        """No word accessed, every number of every word `initial_word`. Cost: O(B N W)."""

        def full(*sizes: int, value: float = 0.0) -> Tensor:
            return torch.full((batch_size, *sizes), value, device=device, dtype=dtype)

        return DAMState(
            words=full(self.memory_size, self.word_size, value=self.initial_word),
            read_weights=full(self.num_heads, self.memory_size),
            write_weights=full(self.num_writes, self.memory_size),
            usage=full(self.memory_size),
            initial_word=self.initial_word,
        )

    def step(self, controls: SAMControls, state: DAMState) -> tuple[Tensor, DAMState]:
        """Writes, then reads; see the class. `state` stays as it was.

        Raises:
            ShapeError: the controls do not fit the state.
        """
        new = least_used(state.usage, self.num_writes)
        before = state.read_weights
        if self.shared_write:
            before = before.mean(1, keepdim=True)
        strengths = controls.strengths
        if strengths is None:
            strengths = torch.ones_like(controls.keys[:, :, 0])
        access = dense_access(
            state.words,
            before,
            new,
            controls.write_gates,
            controls.interpolation_gates,
            controls.adds,
            controls.keys,
            strengths,
        )
        reads, read, write, words = access
        usage = decayed_usage(state.usage, write, read, self.decay)
        return reads, DAMState(words, read, write, usage, state.initial_word)
