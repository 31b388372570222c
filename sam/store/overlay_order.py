"""The order of access of memories that share a base; slots and places are `OverlayPlaces`'.

own slots       handed out first, n, n + 1, ...
base words      the least recently accessed ones follow, slot 0 first; never accessed, slot s
                has the time stamp s, and the clock begins at n
without writes  to the base, own slots are handed out again, the least recently accessed first
"""

import torch
from torch import Tensor

from sam.shape_checks import check_rows
from sam.store.initial_words import check_growth
from sam.store.overlay_places import OverlayPlaces

# Base words are made ready to be written over in pieces: an eighth of the places there are, or so
# many.
_LEAST_PIECE, _PLACES_A_WORD = 16, 8


class OverlayOrder(OverlayPlaces):
    """Least recently accessed order of B memories of N slots over a base of n words.

    Args:
        batch_size: B.
        memory_size: N, above or equal to n.
        count: how many slots `lru_slots` hands out.
        base: an `index.base.interface.Base`, or what has its `put_words` and `len`; shared, never
            copied.
        base_writes: whether base words are written over once own slots are used up.
        device: where the stamps live.

    Cost: as `AccessOrder`; away from the CPU each step waits for the device a few times.
    """

    __slots__ = ()

    def _make_room(self) -> bool:
        return True  # there is, where this is asked

    def lru_slots(self) -> Tensor:
        if len(self._head) and int((self._end - self._head).min()) < self.count:
            self._untouched = False  # some memory may run out of fresh slots
        self._fit()
        places = super().lru_slots()
        self._settle()
        return places

    @property
    def _reach(self) -> int:
        """The most places that are left of a snapshot."""
        return int((self._end - self._head).max()) if len(self._head) else 0

    def export_buffers(self, steps: int, dtype: torch.dtype) -> tuple[Tensor, ...]:
        self._fit(steps)
        self._sums(dtype)
        return self.buffers

    def _sort(self, mask: Tensor) -> None:
        """The next places to hand out, for the batch rows in `mask` that have no others left."""
        for row in mask.nonzero()[:, 0].tolist():
            self._sort_row(row)
        self._untouched = False
        self._fit()

    def _sort_row(self, row: int) -> None:
        # What is left of the snapshot: fewer than are to be handed out, and they come first.
        head, end = int(self._head[row]), int(self._end[row])
        if bool(self._fresh_rows[row]):
            self._head[row] = end  # all own slots have places from here on
            self._settle()
            self._fresh_rows[row] = False
            left = torch.arange(head, end, device=self._head.device)
        else:
            left = self._snapshot(1)[row, head:end]
        first = int(self._next[row])
        if self.base_writes and first < self.num_base:
            piece = max(_LEAST_PIECE, int(self._count[row]) // _PLACES_A_WORD)
            stop = min(self.num_base, first + piece)
            slots = left.new_full((len(self._head), stop - first), -1)
            slots[row] = torch.arange(first, stop, device=left.device)
            self._settle()
            places = torch.cat([left, self._bring(slots)[row]])
            self._next[row] = stop
        else:
            # By stamp, all places or those of own slots: the words of the base are not to go.
            places = torch.arange(int(self._count[row]), device=left.device)
            if not self.base_writes:
                places = places[self._named.written()[row, places] >= self.num_base]
            places = places[self._stamps[row, 1 + places].argsort()]
            self._epoch[row] = self._clock
            self._pending[row] = -1
        self._head[row], self._end[row] = 0, len(places)
        self._snapshot(len(places))[row, : len(places)] = places

    def _snapshot(self, width: int) -> Tensor:
        """The snapshot as a tensor of at least this width, 0, 1, ... in rows with fresh slots."""
        if self._queue is None:
            self._queue = self._none
        self._widen(max(width, self._last_fresh()))
        return self._queue

    # Begun anew, grown, copied.

    def reset(self, mask: Tensor) -> None:
        """Makes the batch rows in `mask`, bool [B], fresh: all they have is the base.

        Cost: O(places).
        """
        check_rows("mask", mask, len(self._stamps), self._stamps.device)
        rows = mask[:, None]
        fresh = self._fresh(0, self._stamps.shape[1] - 1)
        self._stamps[:, 1:] = torch.where(rows, fresh, self._stamps[:, 1:])
        for part in (self._head, self._own, self._next):
            part.masked_fill_(rows, 0)
        self._end.masked_fill_(rows, self.memory_size - self.num_base)
        self._epoch.masked_fill_(rows, self.num_base)
        self._fresh_rows.masked_fill_(rows, True)
        self._pending.masked_fill_(rows, -1)
        self._written.masked_fill_(rows, False)
        self._named.clear(mask)
        if bool(self._fresh_rows.all()):
            self._queue, self._untouched = None, True
        elif self._queue is not None:
            identity = torch.arange(self._queue.shape[1], device=mask.device)
            self._queue = torch.where(rows, identity, self._queue)
        self.slot_bound = int(self.places_in_use.max()) if len(mask) else 0

    def resize(self, memory_size: int) -> None:
        check_growth(self.memory_size, memory_size)
        added = memory_size - self.memory_size
        if added == 0:
            return
        self._settle()
        self._stamps = torch.where(self._stamps < 0, self._stamps - added, self._stamps)
        # A memory that had no own slot left has new ones now, and then sorts all anew, or goes
        # through the base once more from its beginning: what was accessed since is skipped.
        late, was_sorted = ~self._fresh_rows, self._epoch > self.num_base
        self._next = torch.where(was_sorted, self.num_base, torch.zeros_like(self._next))
        self._head = torch.where(late, self._count, self._head)
        self._end = torch.where(late, self._count, self._end) + added
        # Of those handed out only own ones that were never accessed come before the fresh ones.
        never = self._stamps.gather(1, self._pending + 1) < 0
        self._pending = torch.where(never, self._pending, -1)
        self._fresh_rows = torch.ones_like(late)
        self._queue, self._untouched, self.memory_size = None, True, memory_size
