"""The memory of the differentiable neural computer (Graves et al. 2016, Methods)."""

from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from sam import state as states
from sam.errors import ConfigError
from sam.memory import word_access
from sam.memory.protocol import Field
from sam.ops.allocation import allocation_weights, dnc_usage, retention
from sam.ops.dense import erase_add, read_words
from sam.ops.linkage import directional_weights, sharpened, update_links, update_precedence
from sam.ops.masked import masked_content_weights
from sam.ops.similarity import content_weights
from sam.setting_checks import check_choice, check_fraction, check_sizes


class DNCControls(NamedTuple):
    """What the controller tells the memory at one step. V is `num_writes`."""

    read_keys: Tensor  # k^r, [B, R, W]
    read_strengths: Tensor  # beta^r, [B, R]
    write_keys: Tensor  # k^w, [B, V, W]
    write_strengths: Tensor  # beta^w, [B, V]
    erases: Tensor  # e in (0, 1), [B, V, W]
    adds: Tensor  # v, [B, V, W]
    free_gates: Tensor  # f in (0, 1), [B, R]: 1 frees what the head has read
    allocation_gates: Tensor  # g^a in (0, 1), [B, V]: 1 writes to a free word, 0 by content
    write_gates: Tensor  # g^w in (0, 1), [B, V]
    read_modes: Tensor  # pi, [B, R, V + 1 + V]: backward, content, forward; sums to 1
    read_masks: Tensor | None = None  # in (0, 1), [B, R, W]; with `masked`
    write_masks: Tensor | None = None  # in (0, 1), [B, V, W]; with `masked`
    backward_sharpness: Tensor | None = None  # s^b >= 1, [B, R]; with `sharpen_links`
    forward_sharpness: Tensor | None = None  # s^f >= 1, [B, R]; with `sharpen_links`


class DNCState(NamedTuple):
    """The memory between two steps; all zero at the start of an episode."""

    words: Tensor  # M, [B, N, W]
    read_weights: Tensor  # w^r, [B, R, N]
    write_weights: Tensor  # w^w, [B, V, N]
    usage: Tensor  # u, [B, N]
    links: Tensor  # L, [B, V, N, N]: (i, j) is near 1 if i was written right after j
    precedence: Tensor  # p, [B, V, N]

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    get = word_access.get
    words_in_use = property(word_access.words_in_use)
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied

    def resize(self, memory_size: int) -> "DNCState":
        """The state with more words, empty, unused and unlinked; the same memory goes on with it.

        Raises:
            ConfigError: `memory_size` is below the state's.
        """
        by_row = states.grown(self.links, memory_size, 2)
        return DNCState(
            words=states.grown(self.words, memory_size, 1),
            read_weights=states.grown(self.read_weights, memory_size, 2),
            write_weights=states.grown(self.write_weights, memory_size, 2),
            usage=states.grown(self.usage, memory_size, 1),
            links=states.grown(by_row, memory_size, 3),
            precedence=states.grown(self.precedence, memory_size, 2),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class DNCMemory:
    """Settings and step of the memory (DNC paper, Methods).

        psi_t  = prod_i (1 - f^i w^{r,i}_{t-1})                                           (1)
        u_t    = (u_{t-1} + w^w_{t-1} - u_{t-1} o w^w_{t-1}) o psi_t                      (2)
        a_t    = allocation of u_t: the least used words first                            (3)
        c^w    = content(M_{t-1}, k^w, beta^w)                                            (4)
        w^w_t  = g^w (g^a a_t + (1 - g^a) c^w)                                            (5)
        M_t    = M_{t-1} o (1 - w^w_t e_t^T) + w^w_t v_t^T                                (6)
        L_t    = links of L_{t-1}, p_{t-1} and w^w_t                                      (7)
        p_t    = (1 - sum w^w_t) p_{t-1} + w^w_t                                          (8)
        w^r,i  = pi_1 L_t^T w^{r,i}_{t-1} + pi_2 content(M_t, k^i, beta^i) + pi_3 L_t w^{r,i}_{t-1}
        r^i_t  = M_t^T w^{r,i}_t                                                          (9)

    The numbers are ours. Weights may sum to less than 1: what is missing does nothing. Once every
    word is in use nothing is allocated until a free gate frees one.

    With V write heads, as in the authors' code, each has links and precedence of its own, and a
    read chooses among V backward weights, content, and V forward weights, in this order. The heads
    allocate one after the other: the next sees the usage raised, u <- u + (1 - u) g^a g^w a.

    Args:
        memory_size: N, words.
        word_size: W.
        num_reads: R, read heads.
        num_writes: V, write heads; the paper has one.
        strength: activation of beta: "oneplus" in the paper, "softplus" in the authors' code.
        masked: every lookup has a mask of the components it compares; content(M, k, beta) is
            softmax(beta D(k o m, M(i) o m)) (Csordas and Schmidhuber 2019, section 3.1).
        mask_floor: lowest value of a mask, m <- m (1 - floor) + floor; 0.1 was needed for fast
            convergence on associative recall (section 4.2 there).
        deallocate: what is freed is wiped as well, M_t = M_{t-1} o psi_t 1^T o (1 - w^w_t e_t^T)
            + w^w_t v_t^T (equation 1 there).
        sharpen_links: forward and backward weights are raised to powers s^f and s^b, one of each
            a read head, and normalised; see `sharpened` (equation 2 there). Without any links they
            are uniform.

    Cost: a step takes O(V R N^2 + (R + V) N W) time and a sort. A batch row keeps V N^2 numbers for
        the links, N W for the words and about (2 V + 3) R + 10 V numbers a word besides.
    """

    memory_size: int = 256
    word_size: int = 64
    num_reads: int = 4
    num_writes: int = 1
    strength: Literal["oneplus", "softplus"] = "oneplus"
    masked: bool = False
    mask_floor: float = 0.0
    deallocate: bool = False
    sharpen_links: bool = False

    Controls: ClassVar[type[DNCControls]] = DNCControls
    State: ClassVar[type[DNCState]] = DNCState

    def __post_init__(self) -> None:
        sizes = ("memory_size", "word_size", "num_reads", "num_writes")
        check_sizes(**{name: getattr(self, name) for name in sizes})
        check_choice("strength", self.strength, ("oneplus", "softplus"))
        check_fraction("mask_floor", self.mask_floor)
        if self.mask_floor and not self.masked:
            raise ConfigError(f"mask_floor: expected 0 without masked=True, got {self.mask_floor}")

    @property
    def fields(self) -> tuple[Field, ...]:
        reads, writes, size = self.num_reads, self.num_writes, self.word_size
        fields = [
            Field("read_keys", (reads, size)),
            Field("read_strengths", (reads,), self.strength),
            Field("write_keys", (writes, size)),
            Field("write_strengths", (writes,), self.strength),
            Field("erases", (writes, size), "sigmoid"),
            Field("adds", (writes, size)),
            Field("free_gates", (reads,), "sigmoid"),
            Field("allocation_gates", (writes,), "sigmoid"),
            Field("write_gates", (writes,), "sigmoid"),
            Field("read_modes", (reads, 1 + 2 * writes), "softmax"),
        ]
        if self.masked:
            fields.append(Field("read_masks", (reads, size), "sigmoid"))
            fields.append(Field("write_masks", (writes, size), "sigmoid"))
        if self.sharpen_links:
            fields.append(Field("backward_sharpness", (reads,), "oneplus"))
            fields.append(Field("forward_sharpness", (reads,), "oneplus"))
        return tuple(fields)

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> DNCState:
        """An empty memory: everything zero.

        Cost: O(B (V N^2 + N W)) time and bytes.
        """

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(batch_size, *shape, device=device, dtype=dtype)

        words, writes = self.memory_size, self.num_writes
        return DNCState(
            words=zeros(words, self.word_size),
            read_weights=zeros(self.num_reads, words),
            write_weights=zeros(writes, words),
            usage=zeros(words),
            links=zeros(writes, words, words),
            precedence=zeros(writes, words),
        )

    def step(self, controls: DNCControls, state: DNCState) -> tuple[Tensor, DNCState]:
        """Writes, then reads; see the class."""
        usage = dnc_usage(state.usage, state.write_weights, state.read_weights, controls.free_gates)
        write = self._write_weights(controls, state.words, usage)
        words = self._write(controls, state, write)
        links = update_links(state.links, state.precedence, write)
        read = self._read_weights(controls, words, links, state.read_weights)
        next_state = DNCState(
            words=words,
            read_weights=read,
            write_weights=write,
            usage=usage,
            links=links,
            precedence=update_precedence(state.precedence, write),
        )
        return read_words(words, read), next_state

    def _content(
        self, keys: Tensor, strengths: Tensor, words: Tensor, masks: Tensor | None
    ) -> Tensor:
        """Content weights, [B, H, N]; through the masks if there are any."""
        if masks is None:
            return content_weights(keys, strengths, words)
        if self.mask_floor:
            masks = masks * (1 - self.mask_floor) + self.mask_floor
        return masked_content_weights(keys, strengths, words, masks)

    def _write_weights(self, controls: DNCControls, words: Tensor, usage: Tensor) -> Tensor:
        """w^w_t, [B, V, N] (3-5)."""
        content = self._content(
            controls.write_keys, controls.write_strengths, words, controls.write_masks
        )
        free = controls.write_gates * controls.allocation_gates
        alike = controls.write_gates - free
        allocated = []
        for head in range(self.num_writes):
            if head:
                usage = torch.addcmul(usage, 1 - usage, allocated[-1])
            allocated.append(allocation_weights(usage) * free[:, head, None])
        return torch.addcmul(torch.stack(allocated, 1), content, alike[:, :, None])

    def _write(self, controls: DNCControls, state: DNCState, write: Tensor) -> Tensor:
        """M_t (6)."""
        erase, add = controls.erases, controls.adds
        if self.deallocate:
            # The factor psi is one more erase: of every component, with the weights 1 - psi.
            freed = 1 - retention(state.read_weights, controls.free_gates)
            write = torch.cat([write, freed[:, None]], 1)
            erase = torch.cat([erase, torch.ones_like(erase[:, :1])], 1)
            add = torch.cat([add, torch.zeros_like(add[:, :1])], 1)
        return erase_add(state.words, write, erase, add)

    def _read_weights(
        self, controls: DNCControls, words: Tensor, links: Tensor, previous: Tensor
    ) -> Tensor:
        """w^r_t, [B, R, N], from links [B, V, N, N] and w^r_{t-1} (9)."""
        writes, modes = self.num_writes, controls.read_modes[..., None]
        previous = previous[:, None].expand(-1, writes, -1, -1)
        forward, backward = directional_weights(links, previous)
        if controls.forward_sharpness is not None and controls.backward_sharpness is not None:
            heads = forward.shape[:3]
            forward = sharpened(forward, controls.forward_sharpness[:, None].expand(heads))
            backward = sharpened(backward, controls.backward_sharpness[:, None].expand(heads))
        read = modes[:, :, writes] * self._content(
            controls.read_keys, controls.read_strengths, words, controls.read_masks
        )
        for head in range(writes):
            read = torch.addcmul(read, modes[:, :, head], backward[:, head])
            read = torch.addcmul(read, modes[:, :, writes + 1 + head], forward[:, head])
        return read
