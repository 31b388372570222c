"""Inverted lists under random calls, against a dictionary: every word once, where it was put."""

import importlib.util

import pytest
import torch
from torch import Tensor

from index.inverted_lists import InvertedLists

CPU = torch.device("cpu")
WIDTH = 3
NEEDS_NUMBA = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="no numba")
FORMS = [False, pytest.param(True, marks=NEEDS_NUMBA)]


class Twin:
    """Lists, and beside them a dictionary from row to its lists, one a table.

    A memory has `room` words; its first row stands for no word. Lists are numbered from 0 in each
    table, as the dictionary has them.
    """

    def __init__(self, batch: int, tables: int, lists: int, room: int, *, copies: bool) -> None:
        self.batch, self.tables, self.per = batch, tables, 1 + room
        self.words = torch.zeros(batch * self.per, WIDTH)
        self.real = InvertedLists(batch, tables, lists, self.words, copies=copies)
        self.wanted: dict[int, tuple[int, ...]] = {}
        self.random = torch.Generator().manual_seed(1)

    def slots(self, count: int) -> Tensor:
        """Slots [B, count], none twice in a memory."""
        scores = torch.rand(self.batch, self.per - 1, generator=self.random)
        return scores.argsort(1)[:, :count]

    def rows(self, slots: Tensor) -> Tensor:
        """Rows [B, M] of slots [B, M]."""
        return slots + 1 + torch.arange(self.batch).unsqueeze(1) * self.per

    def homes(self, count: int) -> Tensor:
        """Random lists [B, count, L]; half of them are the first two."""
        shape = self.batch, count, self.tables
        some = torch.randint(self.real.lists, shape, generator=self.random)
        few = torch.rand(shape, generator=self.random) < 0.5
        return torch.where(few, some % 2 % self.real.lists, some)

    def draw(self, slots: Tensor) -> None:
        """Stores new words for the slots."""
        words = torch.randn(*slots.shape, WIDTH, generator=self.random)
        self.words[self.rows(slots)] = words

    def note(self, slots: Tensor, homes: Tensor) -> None:
        flat = zip(self.rows(slots).flatten().tolist(), homes.flatten(0, 1).tolist(), strict=True)
        self.wanted |= {row: tuple(home) for row, home in flat}

    def move(self, slots: Tensor, homes: Tensor) -> None:
        """Words with homes [B, M, L] go to these lists."""
        self.draw(slots)
        self.note(slots, homes)
        numbers = self.real.number(homes.clone())
        self.real.move(self.rows(slots).flatten(), numbers.flatten(0, 1), self.words)

    def put_compiled(self, slots: Tensor, homes: Tensor) -> int:
        """The same in compiled form; returns how often the lists had to be packed."""
        from index.kernels.list_moves import put_words

        self.draw(slots)
        self.note(slots, homes)
        given, done, packed = (slots.numpy(), homes.numpy()), 0, 0
        while (done := put_words(*given, self.real.arrays(self.words), done)) < slots.numel():
            self.real.pack()
            packed += 1
        return packed

    def remove(self, slots: Tensor) -> None:
        rows = self.rows(slots).flatten()
        self.real.remove(rows)
        for row in rows.tolist():
            self.wanted.pop(row, None)

    def clear(self, mask: Tensor, used: int) -> None:
        self.real.clear(mask, used)
        for row in list(self.wanted):
            if mask[row // self.per] and row % self.per < used:
                del self.wanted[row]

    def set_stride(self, stride: int) -> None:
        old, self.per = self.per, stride
        words = torch.zeros(self.batch, stride, WIDTH)
        words[:, :old] = self.words.view(self.batch, old, WIDTH)
        self.words = words.view(-1, WIDTH)
        self.real.set_stride(stride)
        self.wanted = {row // old * stride + row % old: home for row, home in self.wanted.items()}

    def check(self) -> None:
        """All that must hold at any time."""
        real = self.real
        count = self.batch * self.tables * real.lists
        assert len(real.starts) == len(real.lengths) == len(real.rooms) == count
        assert (real.lengths >= 0).all() and (real.lengths <= real.rooms).all()
        pieces = [
            pair for pair in zip(real.starts.tolist(), real.rooms.tolist(), strict=True) if pair[1]
        ]
        free = real._pieces
        for start, size in zip(free.first.tolist(), free.sizes.tolist(), strict=True):
            while start >= 0:
                pieces.append((start, size))
                start = ~int(real._held_rows[start])
        pieces.sort()
        ends = [start + room for start, room in pieces]
        assert all(a <= b for a, (b, _) in zip(ends, pieces[1:], strict=False)), (
            "two pieces share places"
        )
        assert not ends or ends[-1] <= int(free.end) <= real.places
        places, which = real.content(torch.arange(count))
        rows = real.rows_at(places)
        assert (rows % self.per > 0).all(), "a row that is no word"
        found: dict[int, list[int]] = {row: [-1] * self.tables for row in self.wanted}
        for row, one in zip(rows.tolist(), which.tolist(), strict=True):
            number, home = divmod(one, real.lists)
            assert row // self.per == number // self.tables, "a word of another memory"
            assert found[row][number % self.tables] == -1, "a word twice"
            found[row][number % self.tables] = home
        assert {row: tuple(home) for row, home in found.items()} == self.wanted
        tables = which.div(real.lists, rounding_mode="floor") % self.tables
        assert torch.equal(real._place_of[rows, tables].long(), places)
        assert torch.equal(real.list_of(rows).gather(1, tables.unsqueeze(1))[:, 0], which)
        assert torch.equal(real.words_at(places, self.words), self.words[rows]), "words of before"
        nowhere = torch.ones(len(self.words), dtype=torch.bool)
        nowhere[list(self.wanted)] = False
        assert (real.list_of(nowhere.nonzero()[:, 0]) == -1).all()
        held = [sum(row // self.per == b for row in self.wanted) for b in range(self.batch)]
        assert real.words_in().tolist() == held


CASES = [(1, 8, True), (1, 5, False), (3, 4, False), (2, 9, False), (1, 1, True)]


@pytest.mark.parametrize(("tables", "lists", "copies"), CASES)
@pytest.mark.parametrize("compiled", FORMS)
def test_any_sequence_of_calls(tables: int, lists: int, copies: bool, compiled: bool) -> None:
    twin = Twin(3, tables, lists, room=60, copies=copies)
    most = 0
    for call in range(72):
        slots = twin.slots(20)
        if call % 12 == 11:
            mask = torch.rand(3, generator=twin.random) < 0.5
            # As an index does: rows beyond those in use hold no word.
            twin.clear(mask, twin.per)
        elif call % 12 == 9 and tables == 1:
            twin.real.add_lists(twin.real.lists + call % 3)
        elif call == 30:
            twin.set_stride(75)
        elif call % 18 == 13:
            twin.real.pack()
        elif call % 4 == 3:
            twin.remove(slots[:, :9])
        elif compiled and call % 2:
            twin.put_compiled(slots, twin.homes(20))
        else:
            twin.move(slots, twin.homes(20))
        twin.check()
        most = max(most, len(twin.wanted))
    assert most > 120  # of 180, or 225


@pytest.mark.parametrize(("tables", "copies"), [(1, True), (3, False)])
def test_filling_is_moving_all(tables: int, copies: bool) -> None:
    twin = Twin(2, tables, 7, room=50, copies=copies)
    slots, homes = twin.slots(40), twin.homes(40)
    twin.draw(slots)
    twin.note(slots, homes)
    numbers = twin.real.number(homes.clone()).flatten(0, 1)
    twin.real.fill(twin.rows(slots).flatten(), numbers, twin.words)
    twin.check()
    twin.move(twin.slots(50), twin.homes(50))
    twin.check()


@NEEDS_NUMBA
@pytest.mark.parametrize(("tables", "copies"), [(1, True), (1, False), (3, False)])
def test_the_compiled_form_puts_words_where_the_plain_one_does(tables: int, copies: bool) -> None:
    """All words of a call may want one list; the order within a list has no meaning."""
    first, second = (Twin(2, tables, 4, room=40, copies=copies) for _ in range(2))
    for call in range(30):
        slots, homes = first.slots(15), first.homes(15)
        if call % 5 == 4:
            homes[:] = call % 4
        second.random.set_state(first.random.get_state())
        first.put_compiled(slots, homes)
        second.move(slots, homes)
        first.check()
        second.check()
        assert first.wanted == second.wanted and torch.equal(first.words, second.words)
        assert torch.equal(first.real.lengths, second.real.lengths)


@NEEDS_NUMBA
@pytest.mark.parametrize("copies", [True, False])
def test_the_compiled_form_skips_the_slot_minus_one(copies: bool) -> None:
    from index.kernels.list_moves import put_words

    twin = Twin(2, 1, 4, room=40, copies=copies)
    twin.move(twin.slots(30), twin.homes(30))
    given = torch.full((2, 9), -1).numpy(), twin.homes(9).numpy()
    assert put_words(*given, twin.real.arrays(twin.words), 0) == 18
    twin.check()


def test_a_word_whose_list_stays_keeps_its_place() -> None:
    twin = Twin(2, 3, 6, room=50, copies=False)
    slots, homes = twin.slots(50), twin.homes(50)
    twin.move(slots, homes)
    places = twin.real._place_of.clone()
    for _ in range(3):
        twin.move(slots, homes)
    assert torch.equal(twin.real._place_of, places)
    moved = homes.clone()
    moved[:, :, 1] = (moved[:, :, 1] + 1) % 6  # one table only; in the others nothing moves
    twin.move(slots, moved)
    twin.check()
    assert torch.equal(twin.real._place_of[:, [0, 2]], places[:, [0, 2]])


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("copies", [True, False])
def test_one_list_may_have_all_words(copies: bool, compiled: bool) -> None:
    twin = Twin(2, 1, 5, room=200, copies=copies)
    put = twin.put_compiled if compiled else twin.move
    slots, packed = torch.arange(200).expand(2, -1), 0
    for start in range(0, 200, 7):
        some = slots[:, start : start + 7].contiguous()
        packed += put(some, torch.full((*some.shape, 1), 3)) or 0
    twin.check()
    assert packed > 1 or not compiled, "or the loops never lacked room"
    assert twin.real.lengths.view(2, 5).tolist() == [[0, 0, 0, 200, 0]] * 2
    put(slots.contiguous(), torch.full((2, 200, 1), 1))
    twin.check()
    assert twin.real.lengths.view(2, 5).tolist() == [[0, 200, 0, 0, 0]] * 2


def test_the_array_does_not_grow_with_the_number_of_moves() -> None:
    """What lists leave behind when they outgrow their room is free again after packing."""
    twin = Twin(2, 1, 8, room=100, copies=True)
    most = 0
    for _ in range(200):
        twin.move(twin.slots(30), twin.homes(30))
        most = max(most, twin.real.places)
    twin.check()
    assert most < 6 * 200 + 64


def test_clear_leaves_other_memories_alone() -> None:
    twin = Twin(3, 2, 4, room=40, copies=False)
    twin.move(twin.slots(40), twin.homes(40))
    count = len(twin.wanted)
    twin.clear(torch.tensor([True, False, True]), twin.per)
    twin.check()
    assert len(twin.wanted) == count // 3
    twin.clear(torch.tensor([False, False, False]), twin.per)
    twin.check()
    assert len(twin.wanted) == count // 3


def test_removing_what_is_not_there_is_no_change() -> None:
    twin = Twin(2, 2, 4, room=40, copies=False)
    twin.remove(twin.slots(5))
    twin.move(twin.slots(20), twin.homes(20))
    twin.remove(twin.slots(40))
    twin.remove(twin.slots(40))
    twin.check()
    assert not twin.wanted


@pytest.mark.parametrize("copies", [True, False])
def test_only_the_last_words_of_a_list_move_where_others_are_taken_out(copies: bool) -> None:
    twin = Twin(1, 1, 2, room=40, copies=copies)
    twin.move(twin.slots(40), twin.homes(40))
    before = twin.real._place_of.clone()
    ends = (twin.real.starts + twin.real.lengths)[twin.real.list_of(torch.arange(1, 41))[:, 0]]
    slots = twin.slots(5)
    twin.remove(slots)
    twin.check()
    changed = (twin.real._place_of != before)[1:, 0].nonzero()[:, 0]
    assert 0 < len(changed) <= 5
    assert (before[1:, 0][changed] >= ends[changed] - 5).all()


def test_content_comes_list_by_list_in_the_asked_order() -> None:
    twin = Twin(2, 1, 6, room=30, copies=True)
    twin.move(twin.slots(30), twin.homes(30))
    asked = torch.tensor([7, 0, 3, 0])
    places, which = twin.real.content(asked)
    assert (which.diff() >= 0).all()
    for number, one in enumerate(asked.tolist()):
        rows = twin.real.rows_at(places[which == number]).tolist()
        expected = [r for r, (home,) in twin.wanted.items() if (r // 31) * 6 + home == one]
        assert sorted(rows) == sorted(expected)
    assert [len(part) for part in twin.real.content(asked[:0])] == [0, 0]


@pytest.mark.parametrize(("tables", "copies"), [(1, True), (3, False)])
def test_a_copy_is_independent_and_bytes_are_as_stated(tables: int, copies: bool) -> None:
    twin = Twin(2, tables, 6, room=300, copies=copies)
    twin.move(twin.slots(300), twin.homes(300))
    twin.real.pack()
    copied = twin.real.copied(CPU)
    copied.remove(torch.arange(1, 301))
    twin.check()
    assert copied.words_in().tolist() == [0, 300]
    place = 4 + (4 * WIDTH if copies else 0)
    stated = 8 * tables * 602 + place * int(twin.real._pieces.end) + 24 * 2 * tables * 6 + 8 * 2
    stated += twin.real._pieces.nbytes
    assert twin.real.nbytes == stated
    assert twin.real._pieces.nbytes < 2000
    assert int(twin.real._pieces.end) <= 1.6 * 600 * tables + 200


@pytest.mark.parametrize(("sizes", "rows"), [((1, 1, 2**31), 9), ((64, 8, 2**22), 9)])
def test_more_than_can_be_numbered_is_refused(sizes: tuple[int, int, int], rows: int) -> None:
    """Before anything is allocated."""
    words = torch.zeros(1, WIDTH).expand(rows, -1)
    with pytest.raises(ValueError, match=f"at most {2**31 - 1} places .* for {rows} words"):
        InvertedLists(*sizes, words, copies=False)
    with pytest.raises(ValueError, match=f"at most {2**31 - 1} places"):
        InvertedLists(1, 1, 4, torch.zeros(1, WIDTH).expand(2**31, -1), copies=False)
