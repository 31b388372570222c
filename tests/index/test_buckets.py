"""Tables of buckets under random calls, against sets: every word once, and where it belongs."""

import math

import pytest
import torch
from torch import Tensor

from index.buckets import BLOCK, Buckets, whole_blocks

CPU = torch.device("cpu")
WIDTH = 3


class Twin:
    """Buckets, and beside them dictionaries from row to what was asked for.

    A memory has `room` words; its rows begin with one that takes what must go nowhere.
    """

    def __init__(self, batch: int, tables: int, buckets: int, size: int, room: int) -> None:
        self.batch, self.tables, self.count, self.size = batch, tables, buckets, size
        self.per = 1 + room
        self.words = torch.zeros(batch * self.per, WIDTH)
        self.real = Buckets(batch, tables, buckets, size, self.words)
        self.wanted: dict[int, Tensor] = {}  # row -> choices [L, C] of the last put
        self.random = torch.Generator().manual_seed(1)

    def draw(self, count: int, choices: int, skip: float = 0.2) -> tuple[Tensor, ...]:
        """Slots [B, M] of which some are -1, none twice, and distinct choices [B, M, L, C]."""
        scores = torch.rand(self.batch, self.per - 1, generator=self.random)
        slots = scores.argsort(1)[:, :count]
        slots = slots.masked_fill(torch.rand(slots.shape, generator=self.random) < skip, -1)
        shape = self.batch, slots.shape[1], self.tables, self.count
        return slots, torch.rand(shape, generator=self.random).argsort(3)[..., :choices]

    def rows(self, slots: Tensor) -> Tensor:
        """One after another, [B M]."""
        return (slots + 1 + torch.arange(self.batch).unsqueeze(1) * self.per).view(-1)

    def put(self, slots: Tensor, choices: Tensor) -> None:
        rest = choices[..., 1:].flatten(0, 1)
        others = (lambda which: rest if which is None else rest[which]) if rest.numel() else None
        words = self.note(slots, choices)
        self.real.put(self.rows(slots), slots >= 0, words, choices[..., 0], others)

    def fill(self, slots: Tensor, first: Tensor) -> Tensor:
        words = self.note(slots, first.unsqueeze(3))
        return self.real.fill(self.rows(slots), slots >= 0, words, first)

    def note(self, slots: Tensor, choices: Tensor) -> Tensor:
        """Draws new words [B, M, W] for the slots."""
        rows = self.rows(slots)
        words = torch.randn(*slots.shape, WIDTH, generator=self.random)
        self.words[rows] = words.flatten(0, 1)
        flat = zip(rows.tolist(), slots.flatten(), choices.flatten(0, 1), strict=True)
        self.wanted |= {row: choice for row, slot, choice in flat if slot >= 0}
        return words

    def remove(self, slots: Tensor) -> None:
        self.real.remove(self.rows(slots))
        for row in self.rows(slots).tolist():
            self.wanted.pop(row, None)

    def clear(self, mask: Tensor, used: int) -> None:
        self.real.clear(mask, used)
        for row in list(self.wanted):
            if mask[row // self.per] and row % self.per < used:
                del self.wanted[row]

    def content(self) -> Tensor:
        """Rows by memory, table, bucket and place, [B, L, n, size]."""
        every = torch.arange(self.count).expand(self.batch, 1, self.tables, -1)
        rows, words = self.real.look(self.real.number(every), self.words)
        assert words.shape == (*rows.shape, WIDTH)
        assert torch.equal(words[rows > 0], self.words[rows[rows > 0]]), "words of before"
        return rows.view(self.batch, self.tables, self.count, self.size)

    def where(self) -> dict[tuple[int, int], int]:
        """(row, table) -> bucket; checks on the way all that must hold at any time."""
        found: dict[tuple[int, int], int] = {}
        content = self.content()
        for place in content.nonzero().tolist():
            b, table, bucket, _ = place
            row = int(content[*place])
            assert row // self.per == b, "a word of another memory"
            assert row in self.wanted, "a word that is not there, or a row for nothing"
            assert (row, table) not in found, "a word twice"
            assert bucket in self.wanted[row][table], "a bucket that nobody chose"
            assert int(content.view(-1)[self.real._places[row, table]]) == row
            found[row, table] = bucket
        assert int((self.real._places < self.real.places).sum()) == len(found)
        assert int(self.real.taken()) == len(found)
        rows = torch.tensor(sorted(self.wanted), dtype=torch.int64)
        nowhere = [all((row, t) not in found for t in range(self.tables)) for row in rows.tolist()]
        assert self.real.unplaced(rows).tolist() == nowhere
        return found


@pytest.mark.parametrize(
    ("tables", "buckets", "size", "choices"),
    [(1, 8, 16, 4), (1, 5, 48, 3), (3, 4, 32, 1), (4, 7, 16, 2), (1, 1, 16, 1)],
)
def test_any_sequence_of_calls(tables: int, buckets: int, size: int, choices: int) -> None:
    twin = Twin(3, tables, buckets, size, room=60)
    most = 0
    for call in range(60):
        if call % 12 == 11:
            mask = torch.rand(3, generator=twin.random) < 0.5
            twin.clear(mask, twin.per if call % 24 == 11 else 1 + 40)
        elif call % 4 == 3:
            twin.remove(twin.draw(9, choices)[0])
        else:
            twin.put(*twin.draw(20, choices))
        most = max(most, len(twin.where()))
    assert most > 0.5 * tables * 3 * min(buckets * size, 60)  # full enough to matter


def test_a_word_whose_bucket_stays_keeps_its_place() -> None:
    twin = Twin(2, 3, 6, 16, room=50)
    slots, choices = twin.draw(50, 2, skip=0)
    twin.put(slots, choices)
    places = twin.real._places.clone()
    assert len(twin.where()) == 2 * 3 * 50
    at_home = twin.real.places > places.view(2, -1, 3)[:, 1:]
    first = torch.zeros_like(at_home, dtype=torch.int64)
    first.scatter_(1, slots.unsqueeze(2).expand(-1, -1, 3), choices[..., 0])
    at_home &= places.view(2, -1, 3)[:, 1:] // 16 % 6 == first
    assert at_home.float().mean() > 0.8
    for _ in range(3):
        twin.put(slots, choices)
    after = twin.real._places.view(2, -1, 3)[:, 1:]
    assert torch.equal(after[at_home], places.view(2, -1, 3)[:, 1:][at_home])
    moved = choices.clone()
    moved[:, :, 1] = (moved[:, :, 1] + 1) % 6  # one table only; in the others nothing moves
    before = twin.real._places.clone()
    twin.put(slots, moved)
    found = twin.where()
    for t in (0, 2):
        still = at_home[..., t]
        assert torch.equal(
            twin.real._places.view(2, -1, 3)[:, 1:, t][still],
            before.view(2, -1, 3)[:, 1:, t][still],
        )
    assert all(twin.wanted[row][t, 0] == bucket for (row, t), bucket in found.items() if t == 1)


def test_a_full_bucket_sends_words_to_their_next_choice() -> None:
    """One block a bucket: whoever is not in its first choices found them full, then and now."""
    twin = Twin(2, 2, 5, 16, room=70)
    slots = torch.arange(70).expand(2, -1)
    choices = torch.rand(2, 70, 2, 5, generator=twin.random).argsort(3)[..., :4]
    choices[:, :40, :, 0] = 2  # a bucket wanted by far too many
    choices[:, :40, :, 1:] = torch.tensor([4, 0, 1])
    for part in range(0, 70, 5):
        twin.put(slots[:, part : part + 5], choices[:, part : part + 5])
    found = twin.where()
    full = (twin.content() > 0).all(3)
    assert full[:, :, 2].all()
    further = 0
    for row, wanted in twin.wanted.items():
        for t in range(2):
            order = wanted[t].tolist()
            place = order.index(found[row, t]) if (row, t) in found else len(order)
            assert all(full[row // twin.per, t, bucket] for bucket in order[:place])
            further += place > 0
    assert further > 2 * 2 * 24


def test_without_further_choices_what_does_not_fit_is_unplaced() -> None:
    twin = Twin(1, 1, 3, 16, room=20)
    for slot in range(20):
        twin.put(torch.tensor([[slot]]), torch.ones(1, 1, 1, 1, dtype=torch.int64))
    assert len(twin.where()) == 16
    rows = torch.arange(1, 21)
    assert twin.real.unplaced(rows).nonzero().flatten().tolist() == [16, 17, 18, 19]
    twin.remove(torch.tensor([[0]]))
    twin.put(torch.tensor([[19]]), torch.ones(1, 1, 1, 1, dtype=torch.int64))  # now it fits
    assert twin.real.unplaced(rows).nonzero().flatten().tolist() == [0, 16, 17, 18]


@pytest.mark.parametrize("skip", [0.0, 0.5])
def test_many_words_at_once_want_one_bucket(skip: float) -> None:
    """They see the same free places, and when a block is full the rest must look again."""
    twin = Twin(4, 1, 8, 64, room=64)
    slots, choices = twin.draw(36, 4, skip)
    choices[..., 0] = 3
    choices[..., 1:] = torch.tensor([0, 5, 7])
    twin.put(slots, choices)
    found = twin.where()
    assert len(found) == int((slots >= 0).sum())
    assert sum(bucket == 3 for bucket in found.values()) > 0.9 * len(found)


@pytest.mark.parametrize("tables", [1, 3])
def test_words_at_once_take_the_places_of_a_block_in_order(tables: int) -> None:
    """None is left out while there is room, though there are no further choices."""
    twin = Twin(2, tables, 3, 16, room=30)
    choices = torch.ones(2, 12, tables, 1, dtype=torch.int64)
    slots = torch.stack([torch.randperm(30)[:12] for _ in range(2)])
    twin.put(slots, choices)
    taken = slots + 1 + torch.arange(2).view(2, 1) * twin.per
    assert (twin.content()[:, :, 1, :12] == taken.unsqueeze(1)).all()
    twin.remove(slots[:, 3:5])
    rest = torch.arange(30).expand(2, -1)[(slots.unsqueeze(2) != torch.arange(30)).all(1)]
    new = rest.view(2, 18)[:, :8]
    twin.put(new, choices[:, :8])
    after = torch.cat((new[:, :2], slots[:, 5:], new[:, 2:6]), 1) + 1
    after += torch.arange(2).view(2, 1) * twin.per
    assert (twin.content()[:, :, 1, 3:] == after.unsqueeze(1)).all()
    lost = new[:, 6:] + 1 + torch.arange(2).view(2, 1) * twin.per
    assert twin.real.unplaced(lost.view(-1)).all()


def test_the_last_free_place_of_a_bucket_is_found() -> None:
    """Each attempt looks into another of the four blocks."""
    twin = Twin(2, 1, 1, 64, room=64)
    for slot in range(64):
        twin.put(torch.full((2, 1), slot), torch.zeros(2, 1, 1, 2, dtype=torch.int64))
    assert len(twin.where()) == 2 * 64
    assert (twin.content() > 0).all()


def test_fill_puts_all_that_fit_into_their_first_choice() -> None:
    twin = Twin(2, 3, 4, 16, room=60)
    slots, choices = twin.draw(60, 1)
    choices[0, :30, 1] = 2  # too many for 16 places
    left = twin.fill(slots, choices[..., 0])
    found = twin.where()
    real = slots >= 0
    full = torch.zeros_like(real)
    for b in range(2):
        for t in range(3):
            for bucket in range(4):
                wants = real[b] & (choices[b, :, t, 0] == bucket)
                rows = twin.rows(slots).view(2, -1)[b][wants].tolist()
                placed = [(row, t) in found for row in rows]
                assert sum(placed) == min(16, len(rows))
                full[b][wants] |= ~torch.tensor(placed, dtype=torch.bool)
    assert torch.equal(left, full)
    assert 0 < left.sum() < real.sum()
    assert int(left[0].sum()) > int(left[1].sum())


def test_every_part_of_a_bucket_that_was_filled_has_room() -> None:
    """A moved word looks into one block of its bucket; none may be full while others are free."""
    twin = Twin(1, 1, 1, 128, room=64)
    twin.fill(torch.arange(64).view(1, -1), torch.zeros(1, 64, 1, dtype=torch.int64))
    taken = (twin.content().view(-1, BLOCK) > 0).sum(1)
    assert taken.sum() == 64
    assert 2 <= taken.min() <= taken.max() <= BLOCK - 3


def test_clear_leaves_other_memories_and_higher_rows_alone() -> None:
    twin = Twin(3, 2, 4, 32, room=40)
    twin.put(*twin.draw(40, 2, skip=0))
    before = twin.where()
    twin.clear(torch.tensor([True, False, True]), 1 + 25)
    after = twin.where()
    assert after == {
        key: bucket
        for key, bucket in before.items()
        if key[0] // twin.per == 1 or key[0] % twin.per > 25
    }
    assert 0 < len(after) < len(before)
    twin.clear(torch.tensor([False, False, False]), twin.per)
    assert twin.where() == after


@pytest.mark.parametrize("tables", [1, 3])
def test_looking_shows_the_asked_buckets_in_their_order(tables: int) -> None:
    twin = Twin(2, tables, 6, 16, room=30)
    twin.put(*twin.draw(30, 2))
    content = twin.content()
    asked = torch.randint(6, (2, 5, tables, 4))
    numbers = twin.real.number(asked)
    assert numbers.shape == (2 * 5, tables * 4)
    rows, words = twin.real.look(numbers, twin.words)
    assert rows.shape == (2 * 5, tables * 4 * 16)
    for b in range(2):
        for q in range(5):
            parts = [content[b, t, asked[b, q, t, p]] for t in range(tables) for p in range(4)]
            assert torch.equal(rows[5 * b + q], torch.cat(parts))
    assert torch.equal(words[rows > 0], twin.words[rows[rows > 0]])
    assert (rows > 0).sum() > 40


@pytest.mark.parametrize("tables", [1, 3])
def test_a_copy_is_independent_and_bytes_are_as_stated(tables: int) -> None:
    twin = Twin(2, tables, 6, 16, room=30)
    twin.put(*twin.draw(30, 2, skip=0))
    before, copied = twin.content(), twin.real.copied(CPU)
    copied.remove(torch.arange(1, 31))
    assert torch.equal(twin.content(), before)
    assert int(copied.taken()) == tables * 30
    words = 4 * WIDTH * 6 * 16 * 2 if tables == 1 else 0
    stated = 4 * tables * (6 * 16 * 2 + 62) + words
    assert 0 <= twin.real.nbytes - stated < 1500  # whatever the sizes
    assert twin.real.places == 2 * tables * 6 * 16


@pytest.mark.parametrize(
    ("sizes", "rows"), [((1, 1, 2**27 - 1), 9), ((64, 8, 2**18), 9), ((1, 1, 1), 2**31)]
)
def test_more_than_can_be_numbered_is_refused(sizes: tuple[int, int, int], rows: int) -> None:
    """Before anything is allocated; the most possible is tried on a device without memory."""
    words, places = torch.zeros(1, WIDTH).expand(rows, -1), (math.prod(sizes) + 1) * 16
    with pytest.raises(ValueError, match=f"at most {2**31 - 1} .* got {places} for {rows} words"):
        Buckets(*sizes, 16, words)
    most = Buckets(1, 2, 2**26 - 1, 16, torch.empty(2**31 - 1, WIDTH, device="meta"))
    assert most.places == 2**31 - 32


@pytest.mark.parametrize(("places", "whole"), [(1, 16), (16, 16), (16.1, 32), (56.0, 64)])
def test_buckets_are_whole_blocks(places: float, whole: int) -> None:
    assert whole_blocks(places) == whole
