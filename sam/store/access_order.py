"""Which word to write over next: the order of last access (SAM paper, 3.2 and A.3).

    U(i) = t - (last step at which w^W(i) + w^R(i) > delta),   delta = 0.005      (U^(2))
    l    = the words with the largest U, judged on accesses up to step t - 1

The paper keeps a circular linked list of all N words. Here every touched slot has a time stamp, and
a snapshot of the slots sorted by stamp is consumed from its oldest end; a slot accessed since the
snapshot is recognised by its stamp and skipped. When the snapshot is used up, which takes as many
accesses as it has slots, it is sorted anew. The first snapshot is not stored at all: it is 0, 1, 2,
... in a fresh memory, and n, n + 1, ..., N - 1, 0, ..., n - 1 in one that began with n words.
"""

from typing import Any

import torch
from torch import Tensor

from index import Neighbors
from sam.store.access_times import AccessTimes
from sam.store.buffer import Buffer


class AccessOrder(AccessTimes):
    """Least recently accessed order of the slots of B memories, changed in place.

    Args:
        batch_size: B.
        memory_size: N.
        count: how many slots `lru_slots` hands out, at most N.
        device: where the stamps live.
        loaded: n, the slots 0 .. n - 1 hold words from the start. They count as handed out, and as
            accessed one after the other before everything else: when no fresh slot is left, slot 0
            is the first to go.
        room: slots to make room for at once.

    Cost: `lru_slots` and `record_access` take O(log N) amortised per slot handed out or accessed.
    Bytes follow the number of slots loaded or handed out so far, never N. On a device other than
    the CPU slots are counted without looking, as if each one handed out were accessed. While
    untouched slots remain, a call waits for the device only if that count exceeds the space there
    is. This happens when the space doubles. After a reset, or if slots handed out were not
    accessed, it happens at most once more for each half of the space handed out. Once all N are in
    use each `lru_slots` reads one flag back.
    """

    __slots__ = ()
    base: Any = None
    """Words that other memories share, of an `OverlayOrder`."""

    @property
    def handed_out(self) -> Tensor:
        """How many slots each memory has handed out or was loaded with, int64 [B, 1].

        They are the first ones.
        """
        return self._head.clamp(max=self.memory_size)

    @property
    def places_in_use(self) -> Tensor:
        """How many first slots of words, stamps and links each memory uses, int64 [B, 1]."""
        return self.handed_out

    def lru_slots(self) -> Tensor:
        """The `count` least recently accessed slots, oldest first, int64 [B, count].

        They stay the oldest until `record_access` accesses them.
        """
        if self._untouched and self._make_room():
            return self._fresh_lru_slots()
        width = 2 * self.count
        while True:
            slots, enough = self._candidates(width)
            if bool(enough.all()):
                return slots
            if width < self._reach:
                width *= 4
            else:
                self._sort(~enough[:, 0])

    @property
    def _reach(self) -> int:
        """No snapshot has more places left."""
        return self.memory_size

    def exchange(
        self,
        index: Any,
        buffer: Buffer,
        written: Tensor,
        words: Tensor,
        keys: Tensor,
        top_k: int,
        *,
        slot_bound: int,
    ) -> Neighbors:
        """Tells an index what was written, and asks it for the words most like each key.

        Args:
            index: of the memory.
            buffer: its words.
            written: slots, int64 [B, M].
            words: what they hold now, [B, M, W].
            keys: [B, H, W].
            top_k: K.
            slot_bound: every slot that may hold a word is smaller.

        Returns:
            Slots and scores, [B, H, K].
        """
        index.reserve(slot_bound)
        return index.exchange(written, words, keys, top_k)

    def load_for_writes(self, buffer: Buffer) -> None:
        """Copies the base words that are to be written over into `buffer`; without a base, none."""

    def _fresh_lru_slots(self) -> Tensor:
        """`lru_slots` while untouched slots remain: those pending, then the next fresh ones."""
        if self._head.device.type == "cpu" and not self._in_order(self._pending).any():
            # The usual case. It takes a look at values, which on the CPU waits for nothing.
            slots = self._head + torch.arange(self.count, device=self._head.device)
            self._pending, self._head = slots, self._head + self.count
            return slots
        # All slots of the window are fresh, so there are enough for certain.
        slots, _ = self._candidates(self.count)
        if self._head.device.type == "cpu":
            self.slot_bound = int(self._head.max())
        return slots

    def _in_order(self, slots: Tensor) -> Tensor:
        """Which slots have not been accessed since the snapshot; false for -1."""
        return self._stamps.gather(1, slots + 1) < self._epoch

    def record_access(self, slots: Tensor, weights: Tensor, threshold: float) -> None:
        """Makes the slots whose summed weight exceeds `threshold` the most recently accessed.

        Args:
            slots: accessed slots from the latest to the earliest, [B, M], each loaded or handed out
                by `lru_slots` before; -1 is skipped. A slot given several times counts with the sum
                of its weights and takes its latest place.
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

    def export_buffers(self, steps: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        """The tensors that compiled loops change, with room for `steps` calls of `lru_slots`.

        Stamps, sums by slot in `dtype`, queue, head, end, epoch, pending; on the CPU only. Call
        `commit_steps` once they were changed.
        """
        # No slot is handed out above the bound, which is 0 in a fresh memory.
        head = self.slot_bound and min(int(self._head.numpy().max()), self.memory_size)
        need = head + steps * self.count
        if need > self.memory_size:
            need, self._untouched = self.memory_size, False
            self.slot_bound = need
        capacity = self._stamps.shape[1] - 1
        if need > capacity:
            self._grow(min(max(need, 2 * capacity), self.memory_size))
        self._sums(dtype)
        return self.buffers

    @property
    def buffers(self) -> tuple[Tensor, ...]:
        """Those tensors: the same ones while nothing but compiled loops changes the order."""
        queue = self._none if self._queue is None else self._queue
        window = self._head, self._end, self._epoch, self._pending
        return (self._stamps, self._total, queue, *window)

    @property
    def clock(self) -> int:
        """Accesses so far, of all steps."""
        return self._clock

    def commit_steps(
        self,
        clock: int,
        *,
        high: int | None = None,
        row: int | None = None,
        was_reset: bool = False,
    ) -> None:
        """Tells the order how far compiled loops have changed its buffers.

        Args:
            clock: accesses of all steps so far.
            high: how many slots some memory has handed out at most; None looks.
            row: batch row whose snapshot is used up and has to be sorted.
            was_reset: whether the loops have emptied batch rows, as `reset` does.
        """
        self._clock = clock
        high = min(int(self._head.numpy().max()), self.memory_size) if high is None else high
        if was_reset and self._queue is None:
            self.slot_bound, self._untouched = high, True
        self.slot_bound = max(self.slot_bound, high)
        if row is not None:
            self._sort(torch.arange(len(self._stamps), device=self._head.device) == row)

    def _sums(self, dtype: torch.dtype) -> Tensor:
        """Zeros for every slot that has space, and the pad."""
        if self._total.shape != self._stamps.shape or self._total.dtype != dtype:
            self._total = torch.zeros_like(self._stamps, dtype=dtype)
        return self._total

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
            if self._queue is not None:
                slots = self._queue.gather(1, slots.clamp(max=self._queue.shape[1] - 1))
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
        need = self.slot_bound + self.count
        if need > capacity:
            # The count so far assumed that every slot handed out was used: look how it is.
            need = (int(self._head.max()) if len(self._head) else 0) + self.count
            if need > self.memory_size:
                self._grow(self.memory_size)
                self.slot_bound, self._untouched = self.memory_size, False
                return False
            # Also while half of the space is left, or the next look would follow too soon.
            if 2 * need > capacity:
                self._grow(min(max(need, 2 * capacity), self.memory_size))
        self.slot_bound = need
        return True

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
        self._queue, self._untouched = queue, False
