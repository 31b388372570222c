"""WordStore: the memory matrix, written in place, with gradients that cost O(touched words).

The words of B memories lie in one mutable buffer that is not part of the autograd graph. Reads and
writes are; what links them is a *token*, an empty scalar that every operation takes and returns, so
that autograd visits the operations in exactly the reverse order of the forward pass. The backward
pass keeps G = dL/dM for the rows touched only (design after SAM paper, 3.4 and A.2):

    read(s)       words = M[s]              G[s] += grad_words
    add(s, x)     M[s] += x                 grad_x = G[s]
    erase(s)      M[s] = 0                  G[s] = 0

No operation needs old memory content in its backward pass (a read's result is kept by whoever uses
it), so the memory is never rolled back: after the backward pass it still holds M_T.

The buffer holds capacity C <= N words a memory, doubling as slots are first touched: slots beyond
are zeros that take no space. Row 0 of each memory is a pad, always zero: slot -1 reads it, and what
is added there is dropped.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from index.contents import Contents
from sam.errors import ShapeError, StaleStateError
from sam.shape_checks import check_rows
from sam.store import store_rows
from sam.store.buffer import Buffer
from sam.store.companions import Companions
from sam.store.gradient_tape import Fork, Read, Reset, Tape, Write
from sam.store.initial_words import check_growth


class WordStore:
    """A handle on the words of B memories of up to N slots; each operation returns the next one.

    A handle is good for one operation. Using it again raises `StaleStateError`, because the buffer
    has changed since; `clone` gives an independent store. Two backward passes through the same
    operations raise as well.

    Slots given to the operations are int64 in [-1, memory_size), of any shape [B, ...]; -1 is a
    pad. `slot_bound` promises that all of them are smaller, which spares a look at their values (on
    a GPU that would wait for the device).

    Args:
        batch_size: B.
        memory_size: N, the slots a memory may come to use.
        word_size: W.
        device: where the words live.
        dtype: a float type.
        words: what slots 0, 1, ... start with, [n, W] or [B, n, W]; see `given_words`. Copied and
            detached.
        room: slots to make room for at once.

    Cost: bytes follow the highest slot touched, at most doubled, never N. Reading or writing M
    words a memory takes O(B M W), forward and backward; starting with n words O(B n W), once.
    """

    __slots__ = (
        *("_offset", "_tape", "_token", "_version"),
        *("buffer", "companions", "memory_size", "step_cache"),
    )

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        word_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        words: Tensor | None = None,
        room: int = 0,
    ) -> None:
        buffer = Buffer.started(
            batch_size, memory_size, word_size, device=device, dtype=dtype, words=words, room=room
        )
        self._set(buffer, memory_size, None, None, None)

    def _set(
        self,
        buffer: Buffer,
        memory_size: int,
        tape: Tape | None,
        token: Tensor | None,
        offset: Tensor | None,
    ) -> None:
        self.buffer = buffer  # what all handles on this memory share
        self.memory_size = memory_size
        self._offset = offset  # rows of slot 0, [B, 1]; made by the first operation that asks
        self._tape, self._token, self._version = tape, token, buffer.version
        self.step_cache: Any = None  # of `sam.fast.standard_cell`, which a step leaves for the next
        self.companions: Companions | None = None  # what is in one state with it

    @property
    def batch_size(self) -> int:
        return self.buffer.batch_size

    @property
    def word_size(self) -> int:
        return self.buffer.word_size

    @property
    def capacity(self) -> int:
        """C, the slots that have space in the buffer."""
        return len(self.buffer.rows) - 1

    @property
    def nbytes(self) -> int:
        return self.buffer.rows.nbytes

    @property
    def words(self) -> Tensor:
        """A detached view of the words in the buffer, [B, C, W]; slots from C on are zeros."""
        self.check()
        return self.buffer.rows[1:].transpose(0, 1)

    def check(self) -> None:
        """Raises `StaleStateError` if this handle was consumed."""
        if self._version != self.buffer.version:
            raise StaleStateError(
                "state: expected the one returned by the last step, got one that a step has "
                "consumed; keep the returned state, or clone() before stepping"
            )

    def read(self, slots: Tensor, *, slot_bound: int | None = None) -> tuple[Tensor, "WordStore"]:
        """Gathers words.

        Args:
            slots: which, [B, ...]; -1 reads zeros.
            slot_bound: promise that all slots are smaller.

        Returns:
            The words [B, ..., W] and the next handle.

        Raises:
            StaleStateError: the handle was consumed.
            ShapeError: a slot is outside [-1, memory_size), or the batch size differs.
        """
        rows = self.rows_of(slots, slot_bound)
        tape, token = self.graph()
        if tape is None or token is None:
            words = self._flat().index_select(0, rows)
        else:
            words, token = Read.apply(token, tape, rows)  # type: ignore[misc]
        return words.view(*slots.shape, self.buffer.word_size), self.advance(tape, token)

    def write(
        self,
        slots: Tensor,
        values: Tensor,
        words: Tensor,
        *,
        erase: Tensor | None = None,
        slot_bound: int | None = None,
    ) -> "WordStore":
        """Erases some words completely, then adds each word to J slots, scaled for each.

            M[erase] = 0, then M[slots[..., j]] += values[..., j] words

        Args:
            slots: where to add, [B, ..., J]; a slot given twice gets both, -1 drops its word.
            values: the factors, [B, ..., J].
            words: what to add, [B, ..., W].
            erase: slots to zero first, [B, E].
            slot_bound: promise that all slots are smaller.

        Returns the next handle.

        Raises:
            StaleStateError: the handle was consumed.
            ShapeError: a slot is out of range, or the shapes disagree.
        """
        for name, tensor, shape in (
            ("values", values, slots.shape),
            ("words", words, (*slots.shape[:-1], self.buffer.word_size)),
        ):
            if tensor.shape != shape:
                raise ShapeError(f"{name}: expected shape {[*shape]}, got {[*tensor.shape]}")
        rows = self.rows_of(slots, slot_bound)
        erased = None if erase is None else self.rows_of(erase, slot_bound)
        tape, token = self.graph(values, words)
        if tape is None or token is None:
            self.buffer.erase_add(erased, rows, values, words)
        else:
            token = Write.apply(token, tape, erased, rows, values, words)  # type: ignore[assignment]
        return self.advance(tape, token)

    def add(self, slots: Tensor, words: Tensor, *, slot_bound: int | None = None) -> "WordStore":
        """M[slots] += words, for slots [B, ...] and words [B, ..., W]; see `write`."""
        ones = words.new_ones(*slots.shape, 1)
        return self.write(slots[..., None], ones, words, slot_bound=slot_bound)

    def erase(self, slots: Tensor, *, slot_bound: int | None = None) -> "WordStore":
        """M[slots] = 0; see `write`."""
        nothing = slots.new_empty(self.batch_size, 0)
        words = self.buffer.rows.new_zeros(self.batch_size, self.word_size)
        return self.write(nothing, words[:, :0], words, erase=slots, slot_bound=slot_bound)

    def peek(self, slots: Tensor, *, slot_bound: int | None = None) -> Tensor:
        """Words [B, ..., W] without gradient; the handle stays good."""
        rows = self.rows_of(slots, slot_bound)
        return self._flat().index_select(0, rows).view(*slots.shape, self.buffer.word_size)

    def reset(self, mask: Tensor) -> "WordStore":
        """Zeroes the memories of the batch rows in `mask`, bool [B]. Cost: O(touched words).

        Raises:
            StaleStateError: the handle was consumed.
            ShapeError: the mask is not bool [B] on the device of the words.
        """
        self.check()
        check_rows("mask", mask, self.batch_size, self.buffer.rows.device)
        tape, token = self.graph()
        if tape is None or token is None:
            self.buffer.rows.masked_fill_(mask[:, None], 0.0)
        else:
            token = Reset.apply(token, tape, mask)  # type: ignore[assignment]
        return self.advance(tape, token)

    def detach(self) -> "WordStore":
        """A handle on the same words at the same moment, from which no gradient flows back."""
        self.check()
        return self._handle(None, None)

    def clone(self) -> "WordStore":
        """A store with a copy of the words; gradients of both flow into the common past."""
        self.check()
        handle = object.__new__(WordStore)
        buffer = Buffer(self.buffer.rows.clone())
        tape, token = None, None
        if self._token is not None and self._tape is not None and torch.is_grad_enabled():
            tape = Tape(buffer, self._tape.touched)
            # This handle stays good, but what follows it must come after the fork.
            self._token, token = Fork.apply(self._token, self._tape, tape)  # type: ignore[misc]
        handle._set(buffer, self.memory_size, tape, token, self._offset)
        return handle

    rows = store_rows.rows
    cat = staticmethod(store_rows.cat)
    put = store_rows.put
    row_kind = property(store_rows.row_kind)

    def resize(self, memory_size: int) -> "WordStore":
        """The next handle, of a memory with more slots. O(1): untouched slots take no space.

        Raises:
            ConfigError: there are fewer slots.
        """
        self.check()
        check_growth(self.memory_size, memory_size)
        handle = self.advance(self._tape, self._token)
        handle.memory_size = memory_size
        return handle

    def to(self, device: torch.device | str) -> "WordStore":
        """The store on another device, detached; the same handle when it is there already."""
        self.check()
        if self.buffer.rows.device == torch.empty(0, device=device).device:
            return self
        handle = object.__new__(WordStore)
        handle._set(Buffer(self.buffer.rows.to(device)), self.memory_size, None, None, None)
        return handle

    def __copy__(self) -> "WordStore":
        return self.detach()

    def __deepcopy__(self, memo: dict[int, Any]) -> "WordStore":
        handle = self.detach().clone()
        if self.companions is not None and self.companions.is_intact:
            # Those that the memo has are the copies in the state that is copied.
            handle.companions = copy.deepcopy(self.companions.renewed(), memo).renewed()
        return handle

    def __getstate__(self) -> tuple[Tensor, int, Companions | None]:
        self.check()
        known = self.companions
        kept = known.renewed() if known is not None and known.is_intact else None
        return self.buffer.rows, self.memory_size, kept

    def __setstate__(self, state: tuple[Tensor, int, Companions | None]) -> None:
        rows, memory_size, companions = state
        self._set(Buffer(rows), memory_size, None, None, None)
        self.companions = None if companions is None else companions.renewed()

    def content(self) -> dict[str, Any]:
        """What a file of the state holds: the words, up to the last one that is not zero."""
        words = self.words
        touched = words.detach().ne(0).any(2).any(0).nonzero()
        count = int(touched[-1]) + 1 if len(touched) else 0
        return {"memory_size": self.memory_size, "words": words[:, :count]}

    def restored(self, given: Contents) -> "WordStore":
        """A store like this one with the words of a file.

        Raises:
            FileFormatError: they are none of a store of these sizes.
        """
        given.same("memory_size", self.memory_size)
        rows = self.buffer.rows
        words = given.finite("words", (self.batch_size, None, self.word_size), rows.dtype)
        if words.shape[1] > self.memory_size:
            raise given.refuse("words", f"at most {self.memory_size}", words.shape[1])
        kind: Any = {"device": rows.device, "dtype": rows.dtype}
        sizes = self.batch_size, self.memory_size, self.word_size
        return WordStore(*sizes, words=words, **kind)

    # For operations that are written outside of this class, such as `sam.fast.fused_access`.

    def graph(self, *inputs: Tensor) -> tuple[Tape | None, Tensor | None]:
        """Tape and token for the next operation; none while nothing has needed a gradient."""
        if not torch.is_grad_enabled():
            return None, None
        if self._tape is None and any(tensor.requires_grad for tensor in inputs):
            return Tape(self.buffer), self.buffer.rows.new_zeros((), requires_grad=True)
        return self._tape, self._token

    def rows_of(self, slots: Tensor, slot_bound: int | None) -> Tensor:
        """Flat rows of slots, after making room for them."""
        self.check()
        buffer, batch_size = self.buffer, self.buffer.batch_size
        if slots.shape[0] != batch_size:
            raise ShapeError(
                f"slots: expected batch size B={batch_size}, got shape {list(slots.shape)}"
            )
        if slot_bound is None and slots.numel():
            low, high = (int(v) for v in slots.aminmax())
            if low < -1 or high >= self.memory_size:
                raise ShapeError(
                    f"slots: expected values in [-1, {self.memory_size}), got {low} to {high}"
                )
            slot_bound = high + 1
        if slot_bound is not None and slot_bound >= len(buffer.rows):
            buffer.grow(slot_bound, self.memory_size)
        if self._offset is None:
            first, device = batch_size, buffer.rows.device
            self._offset = torch.arange(first, 2 * first, device=device)[:, None]
        return torch.add(self._offset, slots.flatten(1), alpha=batch_size).view(-1)

    def _flat(self) -> Tensor:
        return self.buffer.rows.view(-1, self.buffer.word_size)

    def advance(self, tape: Tape | None, token: Tensor | None) -> "WordStore":
        """The handle after an operation with this tape and token; this one becomes stale."""
        self.buffer.version += 1
        return self._handle(tape, token)

    def _handle(self, tape: Tape | None, token: Tensor | None) -> "WordStore":
        """Another handle on the same words."""
        handle = object.__new__(WordStore)
        handle._set(self.buffer, self.memory_size, tape, token, self._offset)
        handle.companions = self.companions
        return handle
