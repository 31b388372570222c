"""The words themselves: a buffer outside the autograd graph that all handles on a memory share."""

from typing import Any

import torch
from torch import Tensor

from sam.store.initial_words import given_words, room_for


class Buffer:
    """Rows [1 + C, B, W] and a count of the operations on them.

    Slot-major, so that the flat row of a slot, (1 + slot) B + b, does not change as C grows. Row 0
    of each memory is the pad of slot -1.
    """

    __slots__ = ("array_views", "batch_size", "noted", "notes", "rows", "version", "word_size")

    def __init__(self, rows: Tensor) -> None:
        self.rows = rows
        self.batch_size, self.word_size = rows.shape[1:]  # both stay as the buffer grows
        self.version = 0
        # For a journal: whether to keep a copy of the words that are added next, and that copy.
        self.notes, self.noted = False, None
        self.array_views: Any = None  # of `sam.fast.array_views`, kept from step to step

    @classmethod
    def started(
        cls,
        batch_size: int,
        memory_size: int,
        word_size: int,
        *,
        device: torch.device | str | None,
        dtype: torch.dtype,
        words: Tensor | None,
        room: int = 0,
    ) -> "Buffer":
        """An empty buffer, or one that begins with words; see `given_words`."""
        loaded = 0
        if words is not None:
            words = given_words(
                words,
                batch_size=batch_size,
                memory_size=memory_size,
                word_size=word_size,
                device=device,
                dtype=dtype,
            )
            loaded = words.shape[1]
        capacity = max(room_for(memory_size, loaded), min(room, memory_size))
        rows = torch.zeros(1 + capacity, batch_size, word_size, device=device, dtype=dtype)
        if words is not None:
            rows[1 : 1 + loaded] = words.transpose(0, 1)
        return cls(rows)

    @property
    def capacity(self) -> int:
        """C, the slots that have space."""
        return len(self.rows) - 1

    def flat(self) -> Tensor:
        """The rows as [(1 + C) B, W]; good until the buffer grows."""
        return self.rows.view(-1, self.word_size)

    def note(self, adds: Tensor) -> None:
        """Every form of a write reports what it adds, a [B, V, W]; a journal keeps a copy."""
        if self.notes:
            self.noted = adds.detach().clone()

    def changing(self) -> "_Changing":
        """For code that runs after the words have changed: if it fails, all handles are stale."""
        return _Changing(self)

    def grow(self, slot_bound: int, memory_size: int) -> None:
        """Makes room for slots up to `slot_bound`, and at least twice the room there was."""
        old = self.rows
        capacity = min(max(slot_bound, 2 * self.capacity), memory_size)
        rows = old.new_zeros(1 + capacity, *old.shape[1:])
        rows[: len(old)] = old
        self.rows = rows

    def erase_add(self, erased: Tensor | None, rows: Tensor, values: Tensor, words: Tensor) -> None:
        """M[erased] = 0, then M[rows] += values (outer) words; pads stay zero.

        Args:
            erased: flat rows, int64 [E].
            rows: flat rows, int64, as many as there are values.
            values: [B, ..., J].
            words: [B, ..., W].
        """
        flat = self.flat()
        if erased is not None:
            flat.index_fill_(0, erased, 0.0)
        scaled = values.unsqueeze(-1) * words.unsqueeze(-2)
        flat.index_add_(0, rows, scaled.view(-1, words.shape[-1]))
        self.rows[0].zero_()  # slot -1 was written to as well
        self.note(words)


class _Changing:
    """See `Buffer.changing`; every step has one, and a generator would take three times as long."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is not None:
            self._buffer.version += 1
