"""Slots and places of memories that share a base: its words have slots, few have places.

Slots 0 .. n - 1 are the base's, n .. N - 1 a row's own. What a row keeps of its memory, words, time
stamps and links, is kept by *place*: place 0, 1, ... is given to a slot when it first matters to
the row, an own one when it is handed out, one of the base when it is read or handed out. Its word
is then copied from the base. So all that works on slots of a memory without a base works on places
here, in whichever form of the step, and takes bytes for the words touched, not for n or N. Slots
are what the index knows, and what is told to the world.
"""

from typing import Any, Self

import torch
from torch import Tensor

from index import Neighbors
from index.base.slot_map import SlotMap
from index.contents import Contents
from sam.errors import ShapeError
from sam.store import overlay_files, overlay_rows
from sam.store.access_order import AccessOrder
from sam.store.buffer import Buffer


class OverlayPlaces(AccessOrder):
    """What `OverlayOrder` remembers of slots and places; arguments and bytes are its own."""

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
        # Rows, places and slots of base words that are to be copied, int64 [3, m].
        self._unloaded: list[Tensor] = []
        super().__init__(batch_size, memory_size, count, device=device)
        # Of the snapshot 0, 1, ... as many are left as there are own slots; the clock begins at n.
        self._end = self._end - self.num_base
        self._clock, self._epoch = self.num_base, self._epoch + self.num_base

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
        if not self._unloaded:
            self.base.skip()  # others may need some
            return
        parts = self._unloaded  # in one call, however many they are
        rows, places, slots = parts[0] if len(parts) == 1 else torch.cat(parts, 1)
        if self.slot_bound > buffer.capacity:
            buffer.grow(self.slot_bound, self.memory_size)
        self.base.put_words(slots, buffer.flat(), (1 + places) * buffer.batch_size + rows)
        self._unloaded = []

    def load_for_writes(self, buffer: Buffer) -> None:
        if self.base_writes:  # else none are written over, and none asked for
            self.load(buffer)

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

    def reserve(self, places: int) -> None:
        """Makes room for so many more places of each memory, in one go."""
        most = min(self.slot_bound + places, self.memory_size)
        self._make_space(most)
        self._named.make_room(most)

    def _mark(self, places: Tensor) -> None:
        """The words of places [B, M] are written."""
        self._written.scatter_(1, 1 + places, True)
        self._written[:, 0] = False

    def _settle(self) -> None:
        """Gives the places handed out since the last call their slots, the next own ones."""
        given = self.num_base, self._own, self._head, self._taking()
        if self._named.follow(*given):
            self._named_more()

    def _taking(self) -> Tensor:
        """Rows whose fresh own slots get the next places, bool [B, 1]."""
        return torch.ones_like(self._fresh_rows) if self._untouched else self._fresh_rows

    def _bring(self, slots: Tensor) -> Tensor:
        """Places of slots [B, M]; base words that had none get one, to be loaded.

        Nothing may have been handed out since `_settle`.
        """
        places, new, highest = self._named.add_and_tell(slots)
        self._named_more()
        if new.shape[1] == 0:
            return places
        if highest >= self.num_base:
            raise ShapeError(
                f"slots: expected those of the base, below {self.num_base}, or such as were handed "
                f"out, got {highest}"
            )
        # Fresh own slots are handed out behind them.
        self._named.note(new, self._taking(), self._stamps, (self._head, self._end))
        self._unloaded.append(new)
        self._fit()
        return places

    def _named_more(self) -> None:
        """After places were given to slots."""
        self.slot_bound = max(self.slot_bound, self._named.most)
        self._make_space(self._named.most)

    def _fit(self, steps: int = 1) -> None:
        """Space for so many steps' fresh slots, and a snapshot of all that is left of it."""
        self._make_space(self.slot_bound + steps * self.count)
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

    def _widen(self, width: int) -> None:
        queue = self._none if self._queue is None else self._queue
        old = queue.shape[1]
        if width > old:
            stop = min(max(width, 2 * old), self.memory_size)
            more = torch.arange(old, stop, device=queue.device).expand(len(queue), -1)
            self._queue = torch.cat([queue, more], 1)

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
