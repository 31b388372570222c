"""The order of access of memories that share a base: its words have slots, few have places.

Slots 0 .. n - 1 are the base's, n .. N - 1 a row's own. What a row keeps of its memory, words, time
stamps and links, is kept by *place*: place 0, 1, ... is given to a slot when it first matters to
the row, an own one when it is handed out, one of the base when it is read or handed out. Its word
is then copied from the base. So all that works on slots of a memory without a base works on places
here, in whichever form of the step, and takes bytes for the words touched, not for n or N. Slots
are what the index knows, and what is told to the world.

    own slots       handed out first, n, n + 1, ...
    base words      the least recently accessed ones follow, slot 0 first; never accessed, slot s
                    has the time stamp s, and the clock begins at n
    without writes  to the base, own slots are handed out again, the least recently accessed first
"""

from typing import Any, Self

import torch
from torch import Tensor

from index import Neighbors
from index.base.slot_map import SlotMap
from index.contents import Contents
from sam.errors import ShapeError
from sam.shape_checks import check_rows
from sam.store import overlay_files, overlay_rows
from sam.store.access_order import AccessOrder
from sam.store.buffer import Buffer
from sam.store.initial_words import check_growth

# Base words are made ready to be written over in pieces: an eighth of the places there are, or so
# many.
_LEAST_PIECE, _PLACES_A_WORD = 16, 8


class OverlayOrder(AccessOrder):
    """Least recently accessed order of B memories of N slots over a base of n words.

    Args:
        batch_size: B.
        memory_size: N, above or equal to n.
        count: how many slots `lru_slots` hands out.
        base: the words of slots 0 .. n - 1, with `words_at(slots)` and `len`; shared, never copied.
        base_writes: whether base words are written over once own slots are used up.
        device: where the stamps live.

    Cost: as `AccessOrder`; away from the CPU each step waits for the device a few times.
    """

    __slots__ = (
        *("_fresh_rows", "_named", "_next", "_own", "_unloaded", "_written"),
        *("base", "base_writes"),
    )

    def __init__(
        self,
        batch_size: int,
        memory_size: int,
        count: int,
        *,
        base: Any,
        base_writes: bool = True,
        device: torch.device | str | None = None,
    ) -> None:
        self.base, self.base_writes = base, base_writes
        zeros = torch.zeros(batch_size, 1, dtype=torch.int64, device=device)
        # Slots and their places.
        self._named = SlotMap(batch_size, zeros.device)
        # Whether the word of a place was written; column 1 + place, as of the stamps.
        self._written = zeros.to(torch.bool)
        # Own slots that have a place, and the next base word to hand out, [B, 1].
        self._own, self._next = zeros, zeros.clone()
        # Rows that have own slots left; places from the count up to their head are own slots that
        # were handed out since `_settle`, and a place is the same as one of the snapshot.
        self._fresh_rows = torch.ones_like(zeros, dtype=torch.bool)
        # Rows, places and slots of base words that are to be copied.
        self._unloaded: list[tuple[Tensor, Tensor, Tensor]] = []
        super().__init__(batch_size, memory_size, count, device=device)
        self._clock = self.num_base
        self._head.fill_(0)
        self._end.fill_(memory_size - self.num_base)
        self._epoch.fill_(self.num_base)

    @property
    def num_base(self) -> int:
        """n."""
        return len(self.base)

    @property
    def nbytes(self) -> int:
        own = self._fresh_rows, self._next, self._own, self._written
        return super().nbytes + sum(part.nbytes for part in own) + self._named.nbytes

    @property
    def _count(self) -> Tensor:
        """Places that have a slot, int64 [B, 1]; those handed out last may have none yet."""
        return self._named.counts.unsqueeze(1)

    @property
    def handed_out(self) -> Tensor:
        """How many slots of each memory hold a word: those of the base and own ones, int64 [B, 1].

        They are the first ones.
        """
        fresh = torch.where(self._fresh_rows, self._head - self._count, 0)
        return self.num_base + self._own + fresh

    @property
    def places_in_use(self) -> Tensor:
        """Places of each memory, int64 [B, 1]."""
        return torch.where(self._fresh_rows, self._head, self._count)

    @property
    def written_words(self) -> Tensor:
        """How many words of its own each memory has written, int64 [B]."""
        return self._written.sum(1)

    # Slots and places.

    def slots_of(self, places: Tensor) -> Tensor:
        """Slots of places [B, ...]; -1 for -1."""
        self._settle()
        return self._named.slots_at(places)

    def find(self, slots: Tensor) -> Tensor:
        """Places of slots [B, M] that have one, else -1."""
        self._settle()
        return self._named.find(slots)

    def places_of(self, slots: Tensor, buffer: Buffer) -> Tensor:
        """Places of slots [B, M]; base words that had none get one, and their word is copied.

        Raises:
            ShapeError: an own slot was not handed out.
        """
        self._settle()
        places = self._bring(slots)
        self.load(buffer)
        return places

    def load(self, buffer: Buffer) -> None:
        """Copies the base words that have got a place since the last call into a row's memory."""
        for rows, places, slots in self._unloaded:
            if self._high > buffer.capacity:
                buffer.grow(self._high, self.memory_size)
            flat = buffer.flat()
            words = self.base.words_at(slots, dtype=flat.dtype)
            flat.index_copy_(0, (1 + places) * buffer.batch_size + rows, words)
        self._unloaded = []

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
        """As `AccessOrder.exchange`, with places; those of base words found are new ones at first.

        Buffers may have moved to larger ones.
        """
        slots = self.slots_of(written)
        index.reserve(self.memory_size)
        self._mark(written)
        near = index.exchange(slots, words, keys, top_k)
        places = self._bring(near.slots.flatten(1))
        self.load(buffer)
        self._fit()
        return near._replace(slots=places.view_as(near.slots))

    def written(self) -> tuple[Tensor, Tensor]:
        """Slots that each memory has written, and their places, int64 [B, M], -1 beyond the last.

        In the order of the places.
        """
        self._settle()
        named = self._named.written()
        done = self._written[:, 1 : 1 + named.shape[1]]
        most = int(done.sum(1).max()) if len(done) else 0
        places = (~done).to(torch.int8).argsort(dim=1, stable=True)[:, :most]
        places = places.masked_fill(~done.gather(1, places), -1)
        return self._named.slots_at(places), places

    def take_written(self, slots: Tensor, buffer: Buffer) -> Tensor:
        """Places of slots [B, M] that are written from outside; own ones are handed out first."""
        self._settle()
        wanted = (slots.amax(1, keepdim=True) - self.num_base + 1).clamp(min=0)
        self._head += torch.where(self._fresh_rows, (wanted - self._own).clamp(min=0), 0)
        places = self.places_of(slots, buffer)
        self._mark(places)
        self._fit()
        return places

    def _mark(self, places: Tensor) -> None:
        """The words of places [B, M] are written."""
        self._written.scatter_(1, 1 + places, True)
        self._written[:, 0] = False

    def _settle(self) -> None:
        """Gives the places handed out since the last call their slots, the next own ones."""
        fresh = self._head - self._count
        if not self._untouched:
            fresh = torch.where(self._fresh_rows, fresh, 0)
        self._named.add_runs((self.num_base + self._own)[:, 0], fresh[:, 0])
        self._own += fresh
        self._named_more()

    def _bring(self, slots: Tensor) -> Tensor:
        """Places of slots [B, M]; base words that had none get one, to be loaded.

        Nothing may have been handed out since `_settle`.
        """
        before = self._named.counts.clone()
        places = self._named.add(slots)
        self._named_more()
        rows, new, found = self._named.added_since(before)
        if len(new) == 0:
            return places
        if int(found.max()) >= self.num_base:
            raise ShapeError(
                f"slots: expected those of the base, below {self.num_base}, or such as were handed "
                f"out, got {int(found.max())}"
            )
        # Fresh own slots are handed out behind them.
        taken = (self._named.counts - before).unsqueeze(1)
        moved = taken if self._untouched else torch.where(self._fresh_rows, taken, 0)
        self._head += moved
        self._end += moved
        self._stamps[rows, 1 + new] = found
        self._unloaded.append((rows, new, found))
        self._fit()
        return places

    def _named_more(self) -> None:
        """After places were given to slots."""
        self._high = max(self._high, self._named.most)
        self._make_space(self._named.most)

    # What is written over next.

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

    def _fit(self, steps: int = 1) -> None:
        """Space for so many steps' fresh slots, and a snapshot of all that is left of it."""
        self._make_space(self._high + steps * self.count)
        if not self._untouched and len(self._head):
            last = self._last_fresh()
            self._make_space(last)
            if self._queue is not None:
                self._widen(last)

    def _last_fresh(self) -> int:
        """Places from here on are none of a snapshot that is 0, 1, 2, ..."""
        return int(torch.where(self._fresh_rows, self._end, 0).max())

    def _make_space(self, places: int) -> None:
        capacity = self._stamps.shape[1] - 1
        if min(places, self.memory_size) > capacity:
            self._grow(min(max(places, 2 * capacity), self.memory_size))

    def _grow(self, capacity: int) -> None:
        super()._grow(capacity)
        false = self._written.new_zeros(len(self._written), capacity + 1 - self._written.shape[1])
        self._written = torch.cat([self._written, false], 1)

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

    def _widen(self, width: int) -> None:
        queue = self._none if self._queue is None else self._queue
        old = queue.shape[1]
        if width > old:
            stop = min(max(width, 2 * old), self.memory_size)
            more = torch.arange(old, stop, device=queue.device).expand(len(queue), -1)
            self._queue = torch.cat([queue, more], 1)

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
        self._high = int(self.places_in_use.max()) if len(mask) else 0

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
        self._epoch = self._epoch.masked_fill(was_sorted, 0)
        # Of those handed out only own ones that were never accessed come before the fresh ones.
        never = self._stamps.gather(1, self._pending + 1) < 0
        self._pending = torch.where(never, self._pending, -1)
        self._fresh_rows = torch.ones_like(late)
        self._queue, self._untouched, self.memory_size = None, True, memory_size

    def _map(self, function: Any) -> Self:
        other = super()._map(function)
        for name in overlay_rows.PARTS:
            setattr(other, name, function(getattr(self, name)))
        other.base, other.base_writes, other._unloaded = self.base, self.base_writes, []
        other._named = self._named.copied(other._stamps.device)
        return other

    rows = overlay_rows.rows
    cat = staticmethod(overlay_rows.cat)
    put = overlay_rows.put
    row_kind = property(overlay_rows.row_kind)

    def content(self) -> dict[str, Any]:
        return overlay_files.content(self)

    def restored(self, given: Contents) -> Self:
        return overlay_files.restored(self, given)
