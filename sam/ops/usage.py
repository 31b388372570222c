"""Which word to write over next: the order of last access (SAM paper, 3.2 and A.3).

    U(i) = t - (last step at which w^W(i) + w^R(i) > delta),   delta = 0.005      (U^(2))
    l    = the words with the largest U, judged on accesses up to step t - 1

The paper keeps a circular linked list of all N words. Here every touched slot has a time stamp, and
a snapshot of the slots sorted by stamp is consumed from its oldest end; a slot accessed since the
snapshot is recognised by its stamp and skipped. When the snapshot is used up, which takes as many
accesses as it has slots, it is sorted anew. The first snapshot is not stored at all: it is 0, 1, 2,
... in a fresh memory, and n, n + 1, ..., N - 1, 0, ..., n - 1 in one that began with n words.
"""

import torch
from torch import Tensor

from sam.ops.loading import check_growth, room_for

_NEVER, _ALWAYS = -(2**62), 2**62


class AccessOrder:
    """Least recently accessed order of the slots of B memories, changed in place.

    Args:
        batch_size: B.
        memory_size: N.
        count: how many slots `oldest` hands out, at most N.
        device: where the stamps live.
        loaded: n, the slots 0 .. n - 1 hold words from the start. They count as handed out, and as
            accessed one after the other before everything else: when no fresh slot is left, slot 0
            is the first to go.

    Cost: `oldest` and `touch` take O(log N) amortised per slot handed out or touched. Bytes follow
    the number of slots loaded or handed out so far, never N. While untouched slots remain nothing
    waits for a device other than the CPU, but for one look whenever the slots counted without
    looking exceed the space there is: when it doubles, and, if slots were given back by a reset or
    handed out and not accessed, before half of it has been handed out once more. Once all N are in
    use each `oldest` reads one flag back.
    """

    __slots__ = (
        "_clock",
        "_end",
        "_epoch",
        "_head",
        "_high",
        "_never",
        "_none",
        "_pending",
        "_queue",
        "_stamps",
        "_total",
        "_untouched",
        "count",
        "memory_size",
    )

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        count: int,
        *,
        device: torch.device | str | None = None,
        loaded: int = 0,
    ) -> None:
        self.memory_size, self.count = memory_size, count
        # Column 1 + slot; column 0 is a pad for slot -1, never in order. Never accessed: slot - N,
        # so negative.
        self._stamps = torch.full((batch_size, 1), _ALWAYS, dtype=torch.int64, device=device)
        self._never = torch.full((), _NEVER, dtype=torch.int64, device=device)
        # Where the weights of a step are summed by slot, zero in between; laid out as the stamps.
        self._total = torch.zeros(batch_size, 0, device=device)
        self._clock = loaded
        # The snapshot, [B, N], or None for 0, 1, 2, ...; place p of it stands at p mod N. What is
        # left of it are the places from head to end: in a loaded memory n .. N + n - 1.
        self._queue: Tensor | None = None
        self._none = self._stamps.new_empty(batch_size, 0)
        self._head = torch.full((batch_size, 1), loaded, dtype=torch.int64, device=device)
        self._end = self._head + memory_size
        # A slot of the snapshot is still in order if its stamp is below the row's epoch.
        self._epoch = self._head.clone()
        # Slots handed out and not accessed since: still the oldest ones. -1 for none.
        self._pending = torch.full((batch_size, count), -1, dtype=torch.int64, device=device)
        self._high = loaded
        # False once some memory may have no slot left that was never handed out.
        self._untouched = True
        self._grow(room_for(memory_size, loaded))
        self._stamps[:, 1 : 1 + loaded] = torch.arange(loaded, device=device)

    @property
    def high(self) -> int:
        """A bound known without asking the device: every slot that may hold a word is below it."""
        return self._high

    @property
    def nbytes(self) -> int:
        values = (getattr(self, name) for name in AccessOrder.__slots__)
        return sum(value.nbytes for value in values if isinstance(value, Tensor))

    @property
    def handed_out(self) -> Tensor:
        """How many slots each memory has handed out or was loaded with, int64 [B, 1].

        They are the first ones.
        """
        return self._head.clamp(max=self.memory_size)

    @property
    def last_access(self) -> Tensor:
        """Time stamps [B, C] of the slots that have space; larger is later, negative is never."""
        return self._stamps[:, 1:]

    def oldest(self) -> Tensor:
        """The `count` least recently accessed slots, oldest first, int64 [B, count].

        They stay the oldest until `touch` accesses them.
        """
        if self._untouched and self._make_room():
            return self._oldest_fresh()
        width = 2 * self.count
        while True:
            slots, enough = self._candidates(width)
            if bool(enough.all()):
                return slots
            if width < self.memory_size:
                width *= 4
            else:
                self._sort(~enough[:, 0])

    def _oldest_fresh(self) -> Tensor:
        """`oldest` while untouched slots remain: those pending, then the next fresh ones."""
        if self._head.device.type == "cpu" and not self._in_order(self._pending).any():
            # The usual case, found out where looking at a value does not wait for a device.
            slots = self._head + torch.arange(self.count)
            self._pending, self._head = slots, self._head + self.count
            return slots
        # All slots of the window are fresh, so there are enough for certain.
        slots, _ = self._candidates(self.count)
        if self._head.device.type == "cpu":
            self._high = int(self._head.max())
        return slots

    def _in_order(self, slots: Tensor) -> Tensor:
        """Which slots have not been accessed since the snapshot; false for -1."""
        return self._stamps.gather(1, slots + 1) < self._epoch

    def touch(self, slots: Tensor, weights: Tensor, threshold: float) -> None:
        """Makes the slots whose summed weight exceeds `threshold` the most recently accessed.

        Args:
            slots: accessed slots from the latest to the earliest, [B, M], each loaded or handed out
                by `oldest` before; -1 is skipped. A slot given several times counts with the sum of
                its weights and takes its latest place.
            weights: weight of each access, [B, M].
            threshold: delta.
        """
        places, weights = slots + 1, weights.detach()
        total = self._sums(weights.dtype).scatter_add_(1, places, weights).gather(1, places)
        self._total.scatter_(1, places, 0.0)
        size = slots.shape[1]
        now = torch.arange(self._clock + size - 1, self._clock - 1, -1, device=slots.device)
        stamps = torch.where(total > threshold, now, self._never)
        self._stamps.scatter_reduce_(1, places, stamps, "amax")
        self._clock += size

    def lend(self, steps: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """What `sam.kernels.order` works on, with room for so many calls of `oldest`.

        Stamps, sums by slot in `dtype`, queue, head, end, epoch, pending. CPU only; `passed` is
        told afterwards how it went.
        """
        need = min(int(self._head.max()), self.memory_size) + steps * self.count
        if need > self.memory_size:
            need, self._untouched = self.memory_size, False
            self._high = need
        capacity = self._stamps.shape[1] - 1
        if need > capacity:
            self._grow(min(max(need, 2 * capacity), self.memory_size))
        self._sums(dtype)
        return self.lent

    @property
    def lent(self) -> tuple[Tensor, ...]:
        """The same tensors as long as nothing but `sam.kernels.order` has changed the order."""
        queue = self._none if self._queue is None else self._queue
        places = self._head, self._end, self._epoch, self._pending
        return (self._stamps, self._total, queue, *places)

    def passed(self, clock: int, *, high: int | None = None, row: int | None = None) -> None:
        """What was lent was used up to a time.

        Args:
            clock: accesses of all steps so far.
            high: how many slots some memory has handed out at most; None looks.
            row: batch row whose snapshot is used up and has to be sorted.
        """
        self._clock = clock
        high = min(int(self._head.max()), self.memory_size) if high is None else high
        self._high = max(self._high, high)
        if row is not None:
            self._sort(torch.arange(len(self._stamps)) == row)

    @property
    def clock(self) -> int:
        """Accesses so far, of all steps."""
        return self._clock

    def reset(self, mask: Tensor) -> None:
        """Makes the batch rows in `mask`, bool [B], fresh and empty, those loaded as well.

        Cost: O(touched slots).
        """
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
                self._high = min(int(self._head.max()), self.memory_size)
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

    def clone(self) -> "AccessOrder":
        return self._map(torch.Tensor.clone)

    def to(self, device: torch.device | str) -> "AccessOrder":
        return self._map(lambda tensor: tensor.to(device))

    def detach(self) -> "AccessOrder":
        return self

    def _map(self, function) -> "AccessOrder":
        other = object.__new__(AccessOrder)
        for name in AccessOrder.__slots__:
            value = getattr(self, name)
            setattr(other, name, function(value) if isinstance(value, Tensor) else value)
        return other

    def _candidates(self, width: int) -> tuple[Tensor, Tensor]:
        """The first `count` slots still in order among the pending ones and the next `width`.

        Returns the slots [B, count] and whether there were enough, bool [B, 1]; only where there
        were is the snapshot's head moved past them.
        """
        places = torch.arange(self.count + width, device=self._head.device)
        slots = self._head + places[:width]
        if not self._untouched:
            inside = slots < self._end
            slots = slots.remainder(self.memory_size)
            slots = slots if self._queue is None else self._queue.gather(1, slots)
            slots = torch.where(inside, slots, -1)
        slots = torch.cat([self._pending, slots], 1)
        first = torch.where(self._in_order(slots), places, places + len(places))
        first = first.topk(self.count, largest=False).values
        last = first[:, -1:]
        enough = last < len(places)
        chosen = slots.gather(1, first.remainder(len(places)))
        advance = (last - (self.count - 1)).clamp(min=0)
        if self._untouched:
            self._pending = chosen
            self._head = self._head + advance
        else:
            self._pending = torch.where(enough, chosen, self._pending)
            self._head = torch.where(enough, self._head + advance, self._head)
        return chosen, enough

    def _make_room(self) -> bool:
        """Space for the next fresh slots; False when some memory may have run out of them."""
        capacity = self._stamps.shape[1] - 1
        need = self._high + self.count
        if need > capacity:
            # The count so far assumed that every slot handed out was used: look how it is.
            need = int(self._head.max()) + self.count
            if need > self.memory_size:
                self._grow(self.memory_size)
                self._high, self._untouched = self.memory_size, False
                return False
            # Also while half of the space is left, or the next look would follow too soon.
            if 2 * need > capacity:
                self._grow(min(max(need, 2 * capacity), self.memory_size))
        self._high = need
        return True

    def _grow(self, capacity: int) -> None:
        old = self._stamps.shape[1] - 1
        fresh = self._fresh(old, capacity).expand(len(self._stamps), -1)
        self._stamps = torch.cat([self._stamps, fresh], 1)

    def _fresh(self, start: int, stop: int) -> Tensor:
        return torch.arange(start, stop, device=self._stamps.device) - self.memory_size

    def _sums(self, dtype: torch.dtype) -> Tensor:
        """Zeros for every slot that has space, and the pad."""
        if self._total.shape != self._stamps.shape or self._total.dtype != dtype:
            self._total = torch.zeros_like(self._stamps, dtype=dtype)
        return self._total

    def _sort(self, mask: Tensor) -> None:
        """A new snapshot for the batch rows in `mask`: their slots by stamp. O(N log N)."""
        queue = self._queue
        if queue is None:
            identity = torch.arange(self.memory_size, device=mask.device)
            queue = identity.repeat(len(mask), 1)
        rows = mask.nonzero()[:, 0]
        queue[rows] = self._stamps[rows, 1:].argsort(1)
        # From N on: all slots of these rows have been handed out.
        self._head[rows], self._end[rows] = self.memory_size, 2 * self.memory_size
        self._epoch[rows] = self._clock
        self._pending[rows] = -1
        self._queue = queue
