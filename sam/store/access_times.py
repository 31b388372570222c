"""What `AccessOrder` remembers of each slot, and how that is copied and grows."""

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from index.contents import Contents
from sam.shape_checks import check_rows
from sam.store import access_rows
from sam.store.initial_words import check_growth, room_for

_NEVER, _ALWAYS = -(2**62), 2**62


class AccessTimes:
    """Time stamps of the slots of B memories, and a snapshot of the slots sorted by them.

    Arguments and bytes are those of `AccessOrder`.
    """

    __slots__ = (
        "_clock",
        "_end",
        "_epoch",
        "_head",
        "_never",
        "_none",
        "_pending",
        "_queue",
        "_stamps",
        "_total",
        "_untouched",
        "count",
        "memory_size",
        "slot_bound",
    )

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        count: int,
        *,
        device: torch.device | str | None = None,
        loaded: int = 0,
        room: int = 0,
    ) -> None:
        self.memory_size, self.count = memory_size, count
        nothing = torch.empty(0, device=device)
        slots = max(room_for(memory_size, loaded), min(room, memory_size))
        # All in one block, which takes less time than a tensor each.
        size, on_cpu = batch_size * (4 + slots + count), nothing.device.type == "cpu"
        block: Any = torch.empty(size, dtype=torch.int64, device=nothing.device)
        # Arrays are cut and filled in less time; on another device nobody waits for it.
        block = block.numpy() if on_cpu else block
        numbers: Any = np.arange if on_cpu else partial(torch.arange, device=nothing.device)
        window, others = block[: 3 * batch_size].reshape(3, batch_size, 1), block[3 * batch_size :]
        stamps = others[: batch_size * (1 + slots)].reshape(batch_size, 1 + slots)
        pending = others[batch_size * (1 + slots) :].reshape(batch_size, count)
        # Column 1 + slot; column 0 is a pad for slot -1, never in order. Never accessed: slot - N,
        # so negative.
        stamps[:, 0], stamps[:, 1:] = _ALWAYS, numbers(-memory_size, slots - memory_size)
        if loaded:
            stamps[:, 1 : 1 + loaded] = numbers(loaded)
        # What is left of the snapshot, [B, N], are its places from head to end; place p stands at
        # p mod N: in a loaded memory n .. N + n - 1. A slot of it is still in order if its stamp is
        # below the row's epoch.
        window[0], window[1], window[2] = loaded, loaded + memory_size, loaded
        # Slots handed out and not accessed since: still the oldest ones. -1 for none.
        pending[...] = -1
        made = stamps, window[0], window[1], window[2], pending
        made = map(torch.from_numpy, made) if on_cpu else made
        self._stamps, self._head, self._end, self._epoch, self._pending = made
        self._never = torch.full((), _NEVER, dtype=torch.int64, device=device)
        # Where the weights of a step are summed by slot, zero in between; laid out as the stamps.
        self._total = nothing.new_zeros(batch_size, 0)
        self._clock = loaded
        self._queue: Tensor | None = None  # the snapshot, or None for 0, 1, 2, ...
        self._none: Tensor = self._stamps.new_empty(batch_size, 0)
        # Every slot that may hold a word is smaller. A plain number: no device is asked for it.
        self.slot_bound = loaded
        # False once some memory may have no slot left that was never handed out.
        self._untouched = True
        self._grow(slots)  # whatever else there is for each slot

    @property
    def batch_size(self) -> int:
        return len(self._stamps)

    rows = access_rows.rows
    cat = staticmethod(access_rows.cat)
    put = access_rows.put
    row_kind = property(access_rows.row_kind)

    @property
    def nbytes(self) -> int:
        values = (getattr(self, name) for name in AccessTimes.__slots__)
        return sum(value.nbytes for value in values if isinstance(value, Tensor))

    @property
    def last_access(self) -> Tensor:
        """Time stamps [B, C] of the slots that have space; larger is later, negative is never."""
        return self._stamps[:, 1:]

    def reset(self, mask: Tensor) -> None:
        """Makes the batch rows in `mask`, bool [B], fresh and empty, those loaded as well.

        Raises:
            ShapeError: the mask is not bool [B] on the device of the stamps.

        Cost: O(touched slots).
        """
        check_rows("mask", mask, len(self._stamps), self._stamps.device)
        rows = mask[:, None]
        capacity = self._stamps.shape[1] - 1
        fresh = self._fresh(0, capacity)
        self._stamps[:, 1:] = torch.where(rows, fresh, self._stamps[:, 1:])
        if self._queue is not None:
            identity = torch.arange(self.memory_size, device=rows.device)
            self._queue = torch.where(rows, identity, self._queue)
        self._head.masked_fill_(rows, 0)
        self._end.masked_fill_(rows, self.memory_size)
        self._epoch.masked_fill_(rows, 0)
        self._pending.masked_fill_(rows, -1)
        if self._queue is None:
            if self._head.device.type == "cpu":  # elsewhere the count is put right when it matters
                most = int(self._head.max()) if len(self._head) else 0
                self.slot_bound = min(most, self.memory_size)
            self._untouched = True

    def resize(self, memory_size: int) -> None:
        """Takes in untouched slots, which come before all that were accessed.

        Raises:
            ConfigError: there are fewer slots than before.

        Cost: O(touched slots).
        """
        check_growth(self.memory_size, memory_size)
        old, added = self.memory_size, memory_size - self.memory_size
        if added == 0:
            return
        # A stamp that says never accessed is slot - N.
        self._stamps = torch.where(self._stamps < 0, self._stamps - added, self._stamps)
        # A memory that had no fresh slot left, and was sorted for it, is now one that has handed
        # out its first slots and sorts them anew once the fresh ones are used up.
        was_sorted = self._end == 2 * old
        self._epoch = self._epoch.masked_fill(was_sorted, 0)
        self._end = torch.where(was_sorted, memory_size, self._end + added)
        self._head = self._head.clamp(max=old)
        # Of those handed out only the ones that were never accessed come before the fresh ones.
        never = self._stamps.gather(1, self._pending + 1) < 0
        self._pending = torch.where(never, self._pending, -1)
        self._queue, self._untouched, self.memory_size = None, True, memory_size

    def clone(self) -> Self:
        return self._map(torch.Tensor.clone)

    def to(self, device: torch.device | str) -> Self:
        """The order itself if it lives on `device`, otherwise a copy there."""
        if self._stamps.device == torch.empty(0, device=device).device:
            return self
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> Self:
        return self

    def content(self) -> dict[str, Any]:
        """What a file of the state holds."""
        return {
            "clock": self._clock,
            "high": self.slot_bound,
            "untouched": self._untouched,
            "memory_size": self.memory_size,
            "stamps": self.last_access,
            "head": self._head,
            "end": self._end,
            "epoch": self._epoch,
            "pending": self._pending,
            "queue": self._none if self._queue is None else self._queue,
        }

    def restored(self, given: Contents) -> Self:
        """This order, fresh so far, as a file says it was.

        Raises:
            FileFormatError: it is that of other sizes, or of no memory.
        """
        batch_size, size = len(self._stamps), self.memory_size
        given.same("memory_size", size)
        clock = given.number("clock", 0, _ALWAYS - 1)
        stamps = given.integers("stamps", (batch_size, None), -size, max(clock, 0))
        capacity = stamps.shape[1]
        column = (batch_size, 1)
        head = given.integers("head", column, 0, 2 * size + 1)
        end = given.integers("end", column, size, 2 * size + 1)
        epoch = given.integers("epoch", column, 0, clock + 1)
        pending = given.integers("pending", (batch_size, self.count), -1, capacity)
        queue = given.integers("queue", (batch_size, None), 0, size)
        most = min(int(head.max()), size) if batch_size else 0
        high = given.number("high", most, max(most, capacity))
        slots = torch.arange(capacity)
        if capacity > size or bool(((stamps < 0) & (stamps != slots - size)).any()):
            raise given.refuse("stamps", f"slot - {size} where there was no access", "another one")
        if bool((head > end).any()) or bool(((stamps >= 0) & (slots >= head)).any()):
            raise given.refuse("head", "a place before its end, behind every access", "another")
        sorted_once = queue.shape[1] > 0
        untouched = given.setting("untouched", bool) and not sorted_once
        if (sorted_once or not untouched) and capacity != size:
            raise given.refuse("stamps", f"all {size} slots, once all are in use", capacity)
        if sorted_once and not torch.equal(queue.sort(1).values, slots.expand(batch_size, -1)):
            raise given.refuse("queue", f"each of {size} slots once", "others")
        device = self._stamps.device
        self._stamps = torch.cat([self._stamps[:, :1], stamps.to(device)], 1)
        self._head, self._end = head.to(device), end.to(device)
        self._epoch, self._pending = epoch.to(device), pending.to(device)
        self._queue = queue.to(device) if sorted_once else None
        self._clock, self.slot_bound, self._untouched = clock, high, untouched
        return self

    def _map(self, function: Callable[[Tensor], Tensor]) -> Self:
        other = object.__new__(type(self))
        for name in AccessTimes.__slots__:
            value = getattr(self, name)
            setattr(other, name, function(value) if isinstance(value, Tensor) else value)
        return other

    def _grow(self, capacity: int) -> None:
        old = self._stamps.shape[1] - 1
        if capacity > old:
            fresh = self._fresh(old, capacity).expand(len(self._stamps), -1)
            self._stamps = torch.cat([self._stamps, fresh], 1)

    def _fresh(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop, device=self._stamps.device) - self.memory_size
