"""Which slots a memory has written, and where: a hash table for each memory, on tensors."""

from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.compiled import is_compiled
from index.table_parts import Parts

_FIRST = 16  # entries of a table, a power of two as ever after
_FACTOR = -7046029254386353131  # odd; the product's upper bits are the hash


class SlotMap(Parts):
    """B maps from slots to places 0, 1, ..., handed out in the order in which slots come.

    A slot keeps its place until the memory is cleared. Entries lie in an open table of which at
    most half is taken; one that is taken already sends a slot on to the next (linear probing).

    Args:
        batch_size: B.
        device: where it lives.

    Cost: of `find` and `add` O(B M) expected, in a few steps for all of them together. Bytes: 24 to
    40 for each slot of the memory that has most, for every memory.
    """

    def __init__(self, batch_size: int, device: torch.device) -> None:
        with torch.inference_mode(False):  # or it could not be written to outside of it
            self.counts = torch.zeros(batch_size, dtype=torch.int64, device=device)
            self._slots = torch.full((batch_size, _FIRST), -1, device=device)
            self._places = torch.full((batch_size, _FIRST), -1, device=device)
            self._slot_of = torch.full((batch_size, _FIRST // 2), -1, device=device)
            self._every = torch.arange(batch_size, device=device)
        self.most = 0  # no memory has handed out more places
        self._seen: tuple[tuple[Tensor, ...], tuple[np.ndarray, ...]] = ((), ())

    def __getstate__(self) -> dict[str, Any]:
        """Without arrays, which would share no memory with the tensors of a copy."""
        return vars(self) | {"_seen": ((), ())}

    def find(self, slots: Tensor, memories: Tensor | None = None) -> Tensor:
        """The places of slots, -1 for -1 and for slots without one.

        Args:
            slots: int64 [m, M].
            memories: whose they are, int64 [m]; all B in order unless told.

        Returns:
            int64 [m, M].
        """
        if memories is None:
            memories = self._every
        loops = self._loops()
        if loops is not None:
            keys, held, _, _ = self.tables()
            places = torch.empty_like(slots, memory_format=torch.contiguous_format)
            asked, of = slots.contiguous().numpy(), memories.contiguous().numpy()
            loops.find(asked, of, keys, held, places.numpy())
            return places
        size = self._slots.shape[1]
        first, table = (memories * size).unsqueeze(1), self._slots.view(-1)
        at = self._begin(slots)
        found = table[first + at]
        ahead = (found != slots) & (found >= 0) & (slots >= 0)
        while bool(ahead.any()):
            at = torch.where(ahead, (at + 1) & (size - 1), at)
            found = table[first + at]
            ahead &= (found != slots) & (found >= 0)
        hit = (found == slots) & (slots >= 0)
        return torch.where(hit, self._places.view(-1)[first + at], -1)

    def add(self, slots: Tensor, bound: int = 0, below: Tensor | None = None) -> Tensor:
        """As `find`, after slots without a place have got one; a slot may come repeatedly.

        Args:
            slots: int64 [B, M].
            bound: of the slots that get a place those below it are counted.
            below: to which they are added, int64 [B].
        """
        below = torch.zeros_like(self.counts) if below is None else below
        loops = self._loops()
        if loops is None:
            return self._add(slots, bound, below)
        self._make_room_for(slots)
        places = torch.empty_like(slots, memory_format=torch.contiguous_format)
        given = slots.contiguous().numpy(), *self.tables(), bound
        self.most = loops.add(*given, below.numpy(), places.numpy())
        return places

    def add_and_tell(self, slots: Tensor) -> tuple[Tensor, Tensor, int]:
        """`add`, and what was handed out.

        Returns:
            The places [B, M]; memories, places and slots that are new, int64 [3, m]; and the
            highest of these slots, or -1.
        """
        loops = self._loops()
        if loops is None:
            before = self.counts.clone()
            places = self.add(slots)
            new = torch.stack(self.added_since(before))
            return places, new, int(new[2].max()) if new.shape[1] else -1
        self._make_room_for(slots)
        places = torch.empty_like(slots, memory_format=torch.contiguous_format)
        new = torch.empty(3, slots.numel(), dtype=torch.int64)
        given = slots.contiguous().numpy(), *self.tables(), places.numpy(), new.numpy()
        self.most, count, highest = loops.add_and_tell(*given)
        return places, new[:, :count], highest

    def follow(self, first: int, taken: Tensor, until: Tensor, rows: Tensor) -> bool:
        """Gives slots that follow one another, and have no place, the next places.

        Args:
            first: a slot.
            taken: how many slots from it on have a place already, int64 [B, 1]; it grows.
            until: so many places each memory has then, int64 [B, 1].
            rows: memories that get any, bool [B, 1].

        Returns whether there were any.
        """
        loops = self._loops()
        if loops is None:
            more = torch.where(rows, until - self.counts.unsqueeze(1), 0)
            found = self.add_runs((first + taken)[:, 0], more[:, 0])
            taken += more
            return found
        given = taken.numpy(), until.numpy(), rows.numpy()
        while True:
            tables = self.tables()
            room = min(tables[0].shape[1] // 2, tables[2].shape[1]) - self.most
            longest, most = loops.follow(first, *given, room, *tables)
            if longest <= room:
                self.most = most if longest else self.most
                return longest > 0
            self.make_room(self.most + longest)

    def note(self, new: Tensor, rows: Tensor, table: Tensor, ahead: tuple[Tensor, Tensor]) -> None:
        """Writes slots of new places to a table, and moves what stands behind these places.

        Args:
            new: as of `add_and_tell`.
            rows: memories whose numbers move, bool [B, 1].
            table: int64 [B, 1 + P], of whose places the first is column 1.
            ahead: two numbers of each memory that grow by as many as are new, int64 [B, 1].
        """
        loops = self._loops()
        if loops is not None:
            tables = table.numpy(), ahead[0].numpy(), ahead[1].numpy()
            # Columns of a row follow one another, whether or not some are cut off.
            loops.note(new.numpy(), new.shape[1], rows.numpy(), *tables)
            return
        table[new[0], 1 + new[1]] = new[2]
        taken = torch.bincount(new[0], minlength=len(rows)).unsqueeze(1)
        for numbers in ahead:
            numbers += torch.where(rows, taken, 0)

    def add_runs(self, first: Tensor, lengths: Tensor) -> bool:
        """Gives slots that follow one another, and have no place, the next ones.

        Args:
            first: of each memory, int64 [B].
            lengths: how many, at least 0, int64 [B].

        Returns whether there were any.
        """
        most = int(lengths.max()) if len(lengths) else 0
        if most == 0:
            return False
        steps = torch.arange(most, device=first.device)
        self.add(torch.where(steps < lengths.unsqueeze(1), first.unsqueeze(1) + steps, -1))
        return True

    def added_since(self, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Memories, places and slots, int64 [m] each, that were handed out since.

        Args:
            counts: a copy of `counts` at that time, int64 [B].
        """
        more = self.counts - counts
        memories = torch.arange(len(more), device=more.device).repeat_interleave(more)
        first = counts - more.cumsum(0) + more
        places = torch.arange(len(memories), device=more.device) + first[memories]
        return memories, places, self._slot_of[memories, places]

    def _add(self, slots: Tensor, bound: int, below: Tensor) -> Tensor:
        """`add` in torch."""
        places = self.find(slots)
        new = (places < 0) & (slots >= 0) & ~_repeated(slots)
        count = new.sum(1)
        if not bool(new.any()):
            return places
        with torch.inference_mode(False), torch.no_grad():
            self.make_room(int((self.counts + count).max()))
            fresh = self.counts.unsqueeze(1) + new.long().cumsum(1) - 1
            self._insert(slots.masked_fill(~new, -1), fresh)
            rows, columns = new.nonzero(as_tuple=True)
            self._slot_of[rows, fresh[rows, columns]] = slots[rows, columns]
            self.counts += count
            below += (new & (slots < bound)).sum(1)
        self.most = int(self.counts.max())
        return self.find(slots)

    def _loops(self) -> ModuleType | None:
        """The compiled forms, if they are to be used."""
        if not is_compiled(None, self.counts.device, torch.float32):
            return None
        from index.kernels import slot_loops

        return slot_loops

    def slots_at(self, places: Tensor) -> Tensor:
        """The slots at places [B, ...] that were handed out, -1 for -1, int64."""
        loops = self._loops()
        if loops is not None:
            given = places.flatten(1)
            found = torch.empty_like(given, memory_format=torch.contiguous_format)
            loops.slots_at(given.contiguous().numpy(), self.tables()[2], found.numpy())
            return found.view(places.shape)
        flat = places.clamp_min(0).flatten(1)
        slots = self._slot_of.gather(1, flat).view(places.shape)
        return slots.masked_fill(places < 0, -1)

    def slots_of(self, memories: Tensor, places: Tensor) -> Tensor:
        """The slots at places [m, M], at least 0, of memories int64 [m]."""
        return self._slot_of[memories.unsqueeze(1), places]

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """The slots in the table of each memory, and the slot of each place, for compiled loops."""
        keys, _, slot_of, _ = self.tables()
        return keys, slot_of

    def count_below(self, slot: int) -> Tensor:
        """How many slots below `slot` each memory has in its map, int64 [B]. Cost: O(places)."""
        used = self._slot_of[:, : self.most]
        return ((used >= 0) & (used < slot)).sum(1)

    def clear(self, rows: Tensor | None) -> None:
        """Forgets the slots of some memories, bool [B], or of all, whose space is given back."""
        if rows is None:
            vars(self).update(vars(SlotMap(len(self.counts), self.counts.device)))
            return
        chosen = rows.unsqueeze(1)
        for table in (self._slots, self._places, self._slot_of):
            table.masked_fill_(chosen, -1)
        self.counts.masked_fill_(rows, 0)
        self.most = int(self.counts.max()) if len(self.counts) else 0

    def written(self) -> Tensor:
        """The slots of each memory by place, -1 beyond the last, int64 [B, most]."""
        return self._slot_of[:, : self.most]

    @classmethod
    def of(cls, written: Tensor) -> "SlotMap":
        """A map in which slots have the places that `written` says, int64 [B, P]."""
        made = cls(len(written), written.device)
        made.add(written)
        return made

    def _begin(self, slots: Tensor) -> Tensor:
        """Where to look for slots first."""
        return ((slots * _FACTOR) >> 32) & (self._slots.shape[1] - 1)

    def _insert(self, slots: Tensor, places: Tensor) -> None:
        """Puts slots that are not there into the table, each once; -1 skipped."""
        loops = self._loops()
        if loops is not None:
            loops.insert(*_arrays(slots, places, self._slots, self._places))
            return
        at, mask = self._begin(slots), self._slots.shape[1] - 1
        ahead = slots >= 0
        while bool(ahead.any()):
            rows, columns = ahead.nonzero(as_tuple=True)
            where = at[rows, columns]
            free = self._slots[rows, where] < 0
            rows, columns, where = rows[free], columns[free], where[free]
            # Of several for one entry one gets it.
            self._slots[rows, where] = slots[rows, columns]
            got = self._slots[rows, where] == slots[rows, columns]
            rows, columns, where = rows[got], columns[got], where[got]
            self._places[rows, where] = places[rows, columns]
            ahead[rows, columns] = False
            at = torch.where(ahead, (at + 1) & mask, at)

    def tables(self) -> tuple[np.ndarray, ...]:
        """The entries, slots and places, the slot of each place, and the counts, as arrays."""
        now = self._slots, self._places, self._slot_of, self.counts
        seen = self._seen[0]
        if not seen or any(one is not other for one, other in zip(now, seen, strict=True)):
            self._seen = now, tuple(_arrays(*now))
        return self._seen[1]

    def _make_room_for(self, slots: Tensor) -> None:
        """Makes room for slots [B, M], all of which may be new."""
        most = self.most + slots.shape[1]
        if 2 * most <= self._slots.shape[1]:
            return
        places = self.find(slots)
        missing = ((places < 0) & (slots >= 0)).sum(1)
        if len(missing):
            self.make_room(self.most + int(missing.max()))

    def make_room(self, most: int) -> None:
        """Has tables of which so many slots of each memory take at most half."""
        if 2 * most <= self._slots.shape[1]:
            return
        size = 1 << (4 * most - 1).bit_length()
        batch_size, device, old = len(self.counts), self.counts.device, self._slot_of
        with torch.inference_mode(False), torch.no_grad():
            self._slots = torch.full((batch_size, size), -1, device=device)
            self._places = torch.full((batch_size, size), -1, device=device)
            self._slot_of = functional.pad(old, (0, size // 2 - old.shape[1]), value=-1)
            places = torch.arange(old.shape[1], device=device).expand_as(old)
            self._insert(old, places)


def _repeated(slots: Tensor) -> Tensor:
    """Which of int64 slots [B, M] came before in their row, bool [B, M]."""
    ordered, order = slots.sort(dim=1, stable=True)
    again = torch.zeros_like(slots, dtype=torch.bool)
    again[:, 1:] = ordered[:, 1:] == ordered[:, :-1]
    return torch.zeros_like(again).scatter_(1, order, again)


def _arrays(*tensors: Tensor) -> list[np.ndarray]:
    """The tensors as arrays without gaps; what is filled in has none already."""
    return [tensor.contiguous().numpy() for tensor in tensors]
