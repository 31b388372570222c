"""Inverted lists: which words belong to each bucket of an index, as dense lists that grow.

Each of L tables has the same number of lists for every memory. A list is a piece of one long array
of places, which all lists share: it has a start, a length, and room to grow. What is beyond the
length is free. A list that outgrows its room takes another piece (`index.list_pieces`). When there
is none, the array becomes longer; if no list has most of it, all are packed anew. So every word has
a place in each table, however unevenly the words fall into the lists.
"""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor

from index.list_copies import CodeCopies, WordCopies
from index.list_pieces import SPARE, Pieces
from index.pages import Reserve, zeros
from index.storage import Storage, as_array
from index.table_parts import Parts, copy_of

# A memory with few words beside one with many is searched whole: up to so many, and that many times
# fewer. Its lists are those of the many.
SMALL, SMALLER = 512, 4
_MOST = 2**31 - 1  # places, rows and lists are kept as int32
_COPIED_AT_ONCE, _MOVED_AT_ONCE = 2**15, 2**18  # words, and numbers of words
TOO_LARGE = 2  # times the room that a list would be given now: it takes a smaller piece
# Places beyond those of the lists, as so many times fewer. A CPU gives memory when it is written.
_BEYOND, _BEYOND_ON_CPU = 4, 1
_LONGER = 64  # times as long an array of places may become, on a CPU


class ListSizes(NamedTuple):
    """How many words there are; all that is needed to choose lists."""

    lengths: np.ndarray  # words in each list, int64 [B L n]
    totals: np.ndarray  # words of each memory, int64 [B]


class ListArrays(NamedTuple):
    """The tensors of `InvertedLists` as arrays, and the words by row, for compiled loops."""

    starts: np.ndarray  # of each list, its first place, int64 [B L n]
    lengths: np.ndarray  # words in it, int64 [B L n]
    rooms: np.ndarray  # places it has, int64 [B L n]
    end: np.ndarray  # of `Pieces`, as is the next: int64 [1]
    first_free: np.ndarray  # int64 [SIZES]
    held_rows: np.ndarray  # by place, the row of the word that is there, int32
    held_words: np.ndarray  # of `WordCopies` or `CodeCopies`, of no place without copies
    held_scales: np.ndarray  # of codes, [places]; else [0]
    list_of: np.ndarray  # by row, the list of the word in each table or -1, int32 [rows, L]
    place_of: np.ndarray  # by row, its place there, int32 [rows, L]
    words: np.ndarray  # what is kept by row, [rows, width]; see `index.storage.as_array`
    totals: np.ndarray  # words of each memory, int64 [B]

    @property
    def sizes(self) -> ListSizes:
        """Of a type that does not depend on how words are kept, so that less is compiled."""
        return ListSizes(self.lengths, self.totals)


class InvertedLists(Parts):
    """L tables of lists for each of B memories, on tensors and without a loop over B.

    Words are named by their row in a tensor that holds all memories, int64. Row 0 stands for "no
    word". Lists are numbered through: list i of table t of memory b is (b L + t) n + i. The order
    of the words within a list has no meaning.

    Args:
        batch_size: B.
        tables: L.
        lists: n, lists of a table and memory.
        words: what is kept of those of all memories, by row, [rows, width].
        storage: how that is read; without it words are as they come.
        copies: whether the lists hold copies of their words, so that a list is read from start to
            end; otherwise words are looked up by row.
        codes: whether the copies are int8 codes, see `index.kernels.code_loops`; the words are then
            kept as they come, and no longer than 1.

    Cost: `move` takes O(words of the lists that change), `content` O(words of the lists). Bytes:
    per word 8 L, 4 L times the room, and with copies W numbers times the room; 24 bytes a list;
    and 2 kB.
    """

    def __init__(
        self,
        batch_size: int,
        tables: int,
        lists: int,
        words: Tensor,
        storage: Storage | None = None,
        *,
        copies: bool,
        codes: bool = False,
    ) -> None:
        self.batch_size, self.tables, self.lists = batch_size, tables, lists
        self.storage, self.copies = storage or Storage(words.dtype, words.shape[1]), copies
        device, rows = words.device, len(words)
        count = batch_size * tables * lists
        if max(count, rows) * tables > _MOST:
            raise ValueError(
                f"index: expected at most {_MOST} places in all tables and memories, got "
                f"{max(count, rows) * tables} for {rows} words; fewer tables or memories may help"
            )
        self.starts = zeros((count,), torch.int64, device)
        self.lengths = zeros((count,), torch.int64, device)
        self.rooms = zeros((count,), torch.int64, device)
        self._pieces = Pieces(device)
        self._totals = zeros((batch_size,), torch.int64, device)
        self._list_of = zeros((rows, tables), torch.int32, device).fill_(-1)
        self._place_of = zeros((rows, tables), torch.int32, device)
        self._arrays: tuple[tuple[int, ...], ListArrays, tuple[Tensor, ...]] | None = None
        self._held_rows, self._of_rows = zeros((0,), torch.int32, device), Reserve()
        self._held_words = (CodeCopies if codes else WordCopies)(self.storage, 0, device)

    def _array(self, places: int) -> tuple[Tensor, WordCopies]:
        device, most = self.starts.device, min(_LONGER * places, _MOST)
        self._of_rows = Reserve()
        rows = self._of_rows.zeros(places, most, (), torch.int32, device)
        return rows, self._held_words.sized(places if self.copies else 0, most)

    def number(self, lists: Tensor, memory: int | None = None) -> Tensor:
        """Lists [B, M, L, ...] of each memory's tables, numbered through; in place.

        Args:
            lists: 0 .. n - 1.
            memory: with it, B is 1 and the lists are those of this memory.
        """
        first = torch.arange(self.batch_size * self.tables, device=lists.device) * self.lists
        first = first.view(self.batch_size, 1, self.tables, *[1] * (lists.dim() - 3))
        return lists.add_(first if memory is None else first[memory : memory + 1])

    def words_in(self) -> Tensor:
        """How many words each memory has, int64 [B]."""
        return self._totals

    @property
    def most_words(self) -> int:
        """How many words the fullest memory has."""
        return int(self._totals.max())

    def list_of(self, rows: Tensor) -> Tensor:
        """Lists of the words in rows [...], numbered through, -1 without one, int64 [..., L]."""
        return self._list_of[rows].long()

    def list_of_slots(self, memory: int, slots: np.ndarray) -> np.ndarray:
        """Lists of the words at slots of a memory, as `list_of`; of one table, -1 for no slot."""
        rows = len(self._list_of) // self.batch_size
        found = self._list_of.numpy()[memory * rows + 1 + np.maximum(slots, 0), 0]
        return np.where(slots < 0, -1, found).astype(np.int64)

    def content(self, lists: Tensor) -> tuple[Tensor, Tensor]:
        """The words of some lists.

        Args:
            lists: numbered through, int64 [m].

        Returns:
            Places of the words, list by list, and for each which of the m lists it is of; int64.
        """
        lengths = self.lengths[lists]
        which = torch.repeat_interleave(lengths)
        begins = lengths.cumsum(0) - lengths
        within = torch.arange(len(which), device=lists.device) - begins[which]
        return self.starts[lists][which] + within, which

    def rows_at(self, places: Tensor) -> Tensor:
        """Rows of the words at places."""
        return self._held_rows[places].long()

    def words_at(self, places: Tensor, words: Tensor) -> Tensor:
        """The words at places [...]; `words` is what is kept of all memories, by row."""
        exact = self.copies and type(self._held_words) is WordCopies
        kept = self._held_words.at(places) if exact else words[self.rows_at(places)]
        return self.storage.decode(kept)

    def move(self, rows: Tensor, lists: Tensor, words: Tensor) -> None:
        """Puts words into lists, out of those where they were.

        Args:
            rows: the words' rows, each at most once, int64 [m].
            lists: of each table, numbered through, or -1 to take the word out, int64 [m, L].
            words: what is kept of all memories, by row.
        """
        old = self._list_of[rows].long()
        if self.copies:
            stays = ((old == lists) & (lists >= 0)).any(1)
            copies = self._held_words.of(words[rows[stays]])
            self._held_words.put(self._place_of[rows[stays], 0].long(), copies)
        word, table = (old != lists).nonzero(as_tuple=True)
        if len(word) == 0:
            return
        out, into = old[word, table], lists[word, table]
        lengths = self.lengths.index_add(0, out.clamp_min(0), -(out >= 0).long())
        lengths.index_add_(0, into.clamp_min(0), (into >= 0).long())
        changed = torch.cat((out, into))
        changed = changed[changed >= 0].unique()
        pieces = self._other_pieces(changed, lengths)
        self._count(out[table == 0], -1)
        self._count(into[table == 0], 1)
        moving = rows[word]
        self._held_rows[self._place_of[moving, table].long()[out >= 0]] = 0
        places, which = self.content(changed)
        kept = self._held_rows[places] != 0
        places, enter = places[kept], into >= 0
        held = torch.cat((self._held_rows[places].long(), moving[enter]))
        target = torch.cat((changed[which[kept]], into[enter]))
        copies = None
        if self.copies:
            entering = self._held_words.of(words[moving[enter]])
            copies = torch.cat((self._held_words.at(places), entering))
        self._list_of[moving[~enter], table[~enter]] = -1
        self.lengths.copy_(lengths)
        self._change_pieces(*pieces)
        self._write(held, target, copies)

    def _count(self, lists: Tensor, change: int) -> None:
        """Counts words put into or taken out of lists of the first tables; -1 is skipped."""
        lists = lists[lists >= 0]
        memory = lists.div(self.tables * self.lists, rounding_mode="floor")
        self._totals.index_add_(0, memory, torch.full_like(memory, change))

    def _write(self, rows: Tensor, lists: Tensor, words: Tensor | None) -> None:
        """Writes the whole content of lists that have room for it: row [m] goes to list [m]."""
        lists, order = lists.sort(stable=True)
        rows = rows[order]
        begins = torch.ones_like(lists, dtype=torch.bool)
        begins[1:] = lists[1:] != lists[:-1]
        at = torch.arange(len(lists), device=lists.device)
        within = at - torch.where(begins, at, 0).cummax(0).values if len(lists) else at
        places = self.starts[lists] + within
        table = lists.div(self.lists, rounding_mode="floor").remainder_(self.tables)
        self._held_rows[places] = rows.int()
        self._list_of[rows, table] = lists.int()
        self._place_of[rows, table] = places.int()
        if words is not None:
            self._held_words.put(places, words[order])

    def fill(self, rows: Tensor, lists: Tensor, words: Tensor) -> None:
        """Puts words into empty tables; arguments as for `move`, without words to take out."""
        self.lengths.index_add_(0, lists.flatten(), torch.ones_like(lists).flatten())
        self._held_rows, self._held_words = self._array(self._new_rooms(self.lengths))
        self._count(lists[:, 0], 1)
        for table in range(self.tables):
            self._write(rows, lists[:, table], None)
        # In the order of places, and some at a time: of many words most of the time would go to
        # waiting for pages.
        for begin in range(0, int(self._pieces.end) if self.copies else 0, _COPIED_AT_ONCE):
            held = self._held_rows[begin : begin + _COPIED_AT_ONCE]
            places = held.nonzero()[:, 0]
            self._held_words.put(begin + places, self._held_words.of(words[held[places].long()]))

    def _new_rooms(self, lengths: Tensor) -> int:
        """Gives every list a piece with room for so many words; returns the places of the array."""
        self.rooms = self._pieces.rooms(lengths)
        self.starts = self._pieces.lay_out(self.rooms)
        end = int(self._pieces.end)
        beyond = _BEYOND_ON_CPU if lengths.device.type == "cpu" else _BEYOND
        places = end + end // beyond + 16 * SPARE
        if places > _MOST:
            raise ValueError(f"index: expected at most {_MOST} places in all lists, got {places}")
        return places

    def make_room(self) -> None:
        """Makes room in the array, where a list needs places and there are none.

        Cost: none, as a rule; O(words of all lists) where lists have less than half of the array,
        or it cannot become longer.
        """
        if not self._lengthen():
            self.pack()

    def _lengthen(self) -> bool:
        """Makes the array longer, if that takes no copy and lists have most of it."""
        places = min(2 * self.places, _MOST)
        used, end = int(self.rooms.sum()), int(self._pieces.end)
        if 2 * used < end or places == self.places or self.starts.device.type != "cpu":
            return False
        most = min(_LONGER * places, _MOST)
        rows = self._of_rows.grown(self._held_rows, places, most)
        if rows is None or (self.copies and not self._held_words.lengthen(places, most)):
            return False
        self._held_rows = rows
        return True

    def pack(self, lengths: Tensor | None = None) -> None:
        """Moves all lists to a new array, each with room for so many words, or some to spare."""
        lengths = self.lengths if lengths is None else self.lengths.maximum(lengths)
        places, which = self.content(torch.arange(len(self.lengths), device=lengths.device))
        held_rows, held_words = self._held_rows, self._held_words
        begins = self.starts
        size = self._new_rooms(lengths)
        self._held_rows, self._held_words = self._array(size)
        new, rows = places + (self.starts - begins)[which], held_rows[places]
        table = which.div(self.lists, rounding_mode="floor").remainder_(self.tables)
        self._held_rows[new] = rows
        self._place_of[rows.long(), table] = new.int()
        if self.copies:  # some at a time: room for all of them would be as many pages again
            step = max(1, _MOVED_AT_ONCE // self.storage.width)
            for old, place in zip(places.split(step), new.split(step), strict=True):
                self._held_words.put(place, held_words.at(old))

    def _other_pieces(self, lists: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Takes pieces for those of some lists whose room does not fit so many words.

        Args:
            lists: int64 [m].
            lengths: of all lists.

        Returns:
            The lists that change, starts and rooms; none if all were packed anew for that.
        """
        rooms = self._pieces.rooms(lengths[lists])
        unfit = (lengths[lists] > self.rooms[lists]) | (self.rooms[lists] > TOO_LARGE * rooms)
        lists, rooms = lists[unfit], rooms[unfit]
        wanted = rooms.tolist()
        found = self._pieces.take(wanted, self._held_rows)
        while found is None and self._lengthen():
            found = self._pieces.take(wanted, self._held_rows)
        if found is None:
            self.pack(lengths)
            return lists[:0], rooms[:0], rooms[:0]
        pieces = rooms.new_tensor(found).view(-1, 2)
        return lists, pieces[:, 0], pieces[:, 1]

    def tighten(self, most: int) -> None:
        """Gives at most so many lists, which have become short, smaller pieces.

        Cost: O(lists), and O(words of those that change).
        """
        small = self._pieces.rooms(self.lengths) * TOO_LARGE
        lists = (self.rooms > small).nonzero()[:most, 0]
        if len(lists) == 0:
            return
        pieces = self._other_pieces(lists, self.lengths)
        places, which = self.content(lists)
        rows = self._held_rows[places].long()
        copies = self._held_words.at(places) if self.copies else None
        self._change_pieces(*pieces)
        self._write(rows, lists[which], copies)

    def _change_pieces(self, lists: Tensor, starts: Tensor, rooms: Tensor) -> None:
        """Gives lists these pieces, for those they have; what is there has to be written again."""
        self._pieces.give_back(self.starts[lists], self.rooms[lists], self._held_rows)
        self.starts[lists], self.rooms[lists] = starts, rooms

    def remove(self, rows: Tensor) -> None:
        """Takes words out, int64 [m], each at most once; those that are in no list are skipped.

        The last words of a list take the places of those that go, and its piece stays as it is:
        `tighten` gives it a smaller one.

        Cost: O(m W).
        """
        for table in range(self.tables):
            out = self._list_of[rows, table].long()
            leaving, out = rows[out >= 0], out[out >= 0]
            self._take_out(leaving, out, table)
            if table == 0:
                self._count(out, -1)

    def _take_out(self, rows: Tensor, out: Tensor, table: int) -> None:
        """Takes words [m] out of the lists of a table where they are, int64 [m]."""
        out, order = out.sort()
        rows = rows[order]
        changed, gone = out.unique_consecutive(return_counts=True)
        left = self.lengths[changed] - gone
        places = self._place_of[rows, table].long()
        # The last places of each list, as many as words go.
        which = torch.repeat_interleave(gone)
        within = torch.arange(len(out), device=rows.device) - (gone.cumsum(0) - gone)[which]
        ends = (self.starts[changed] + left)[which]
        last = ends + within
        self._held_rows[places] = 0
        last, free = last[self._held_rows[last] != 0], places[places < ends]
        held = self._held_rows[last]
        self._held_rows[free] = held
        self._place_of[held.long(), table] = free.int()
        if self.copies:
            self._held_words.put(free, self._held_words.at(last))
        self._list_of[rows, table] = -1
        self.lengths[changed] = left

    def clear(self, mask: Tensor, used: int) -> None:
        """Empties the lists of the memories in `mask`, bool [B].

        Args:
            mask: the memories.
            used: rows of each that may have words.

        Cost: O(B (used + lists)), not O(places).
        """
        lists = self._list_of.view(self.batch_size, -1, self.tables)[:, :used]
        lists.masked_fill_(mask.view(-1, 1, 1), -1)
        self.lengths.view(self.batch_size, -1).masked_fill_(mask.view(-1, 1), 0)
        self._totals.masked_fill_(mask, 0)

    def add_lists(self, lists: int) -> None:
        """Gives each table of each memory so many lists, at least as many as it has; L is 1."""
        old = self._list_of
        memory = old.div(self.lists, rounding_mode="floor") * (lists - self.lists)
        self._list_of = torch.where(old >= 0, old + memory, old).int()
        for name in ("starts", "lengths", "rooms"):
            held = getattr(self, name).view(self.batch_size, self.lists)
            grown = held.new_zeros(self.batch_size, lists)
            grown[:, : self.lists] = held
            setattr(self, name, grown.view(-1))
        self.lists = lists

    def set_stride(self, stride: int) -> None:
        """Renames all rows: from now on each memory has so many, at least as many as before."""
        old = self._list_of.shape[0] // self.batch_size
        if stride == old:
            return
        if self.batch_size > 1:
            rows = self._held_rows  # below 0 are those that chain free pieces
            memory = rows.clamp_min(0).div(old, rounding_mode="floor")
            rows.add_(memory.mul_(stride - old))
        for name, free in (("_list_of", -1), ("_place_of", 0)):
            held = getattr(self, name).view(self.batch_size, old, self.tables)
            grown = held.new_full((self.batch_size, stride, self.tables), free)
            grown[:, :old] = held
            setattr(self, name, grown.view(-1, self.tables))

    def arrays(self, words: Tensor) -> ListArrays:
        """The lists for compiled loops; `words` is what is kept of all memories, by row."""
        own = (
            *(self.starts, self.lengths, self.rooms),
            *(self._pieces.end, self._pieces.first),
            *(self._held_rows, self._held_words.words, self._held_words.scales),
            *(self._list_of, self._place_of, self._totals),
        )
        # Making arrays takes some 10 us, so they are kept while they are of the same tensors.
        key = (words.data_ptr(), len(words), *map(id, own))
        if self._arrays is None or self._arrays[0] != key:
            arrays = (as_array(tensor) for tensor in (*own[:-1], words, self._totals))
            self._arrays = key, ListArrays(*arrays), own
        return self._arrays[1]

    def arrays_of(self, memory: int, words: Tensor) -> ListArrays:
        """Those of one memory alone, with B = 1; rows and places are numbered as before."""
        own, many = self.arrays(words), self.tables * self.lists
        mine, rows = slice(memory * many, (memory + 1) * many), len(words) // self.batch_size
        return own._replace(
            starts=own.starts[mine],
            lengths=own.lengths[mine],
            rooms=own.rooms[mine],
            list_of=own.list_of[:rows],
            totals=own.totals[memory : memory + 1],
        )

    @property
    def holds_codes(self) -> bool:
        """Whether copies are int8 codes, so that reading all of them reads a fourth."""
        return self.copies and type(self._held_words) is CodeCopies

    def copied(self, device: torch.device) -> Self:
        other = copy_of(self, device)
        other._arrays = None  # they are of the tensors of this one
        return other

    @property
    def places(self) -> int:
        """How many places the array has."""
        return len(self._held_rows)

    @property
    def nbytes(self) -> int:
        """Bytes held; of the array, those of the places that lists had until now."""
        if self.starts.device.type != "cpu" or self.places == 0:
            return super().nbytes
        array = self._held_rows.nbytes + self._held_words.nbytes
        beyond = self.places - int(self._pieces.end)
        return super().nbytes - beyond * (array // self.places)
