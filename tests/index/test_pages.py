"""Large tables become longer without a copy, and copies of their owners are independent."""

import pytest
import torch
from torch import Tensor

from index import make_index
from index.inverted_lists import InvertedLists
from index.pages import Reserve

WIDTH = 2**14  # numbers of a row: 64 kB, so that 80 rows are large


def reserved(rows: int, most: int) -> tuple[Reserve, Tensor]:
    reserve = Reserve()
    tensor = reserve.zeros(rows, most, (WIDTH,), torch.float32, torch.device("cpu"))
    return reserve, tensor


def test_a_large_tensor_grows_in_place() -> None:
    reserve, tensor = reserved(80, 256)
    tensor += torch.arange(80.0).unsqueeze(1)
    longer = reserve.grown(tensor, 200, 256)
    assert longer is not None and longer.shape == (200, WIDTH)
    assert longer.data_ptr() == tensor.data_ptr()
    assert torch.equal(longer[:80, 5], torch.arange(80.0)) and not longer[80:].any()


@pytest.mark.parametrize("most", [80, 100])
def test_there_is_an_end_to_it(most: int) -> None:
    reserve, tensor = reserved(80, most)
    assert reserve.grown(tensor, 101, 256) is None


def test_a_small_one_is_copied() -> None:
    reserve, tensor = reserved(2, 256)
    tensor += 3
    longer = reserve.grown(tensor, 64, 256)
    assert longer is not None and longer.data_ptr() != tensor.data_ptr()
    assert bool((longer[:2] == 3).all()) and not longer[2:].any()
    again = reserve.grown(longer, 128, 256)
    assert again is not None and again.data_ptr() == longer.data_ptr()


def test_the_reserve_is_of_its_own_tensor_alone() -> None:
    reserve, tensor = reserved(80, 256)
    assert reserve.grown(tensor.clone(), 128, 256) is None
    assert reserve.copied(torch.device("cpu")).grown(tensor, 128, 256) is None
    assert reserve.nbytes == 0


@pytest.mark.parametrize("kind", ["exact", "ivf"])
def test_words_of_one_memory_grow_in_place_and_a_clone_on_its_own(kind: str) -> None:
    index = make_index(kind, batch_size=1, capacity=1_000, word_size=WIDTH)
    words = torch.randn(1, 80, WIDTH)
    index.update(torch.arange(80).unsqueeze(0), words)
    clone, before = index.clone(), index._words.data_ptr()
    more = torch.arange(80, 300).unsqueeze(0)
    index.update(more[:, :200], torch.ones(1, 200, WIDTH))
    assert index._words.data_ptr() == before
    clone.update(more[:, :200], -torch.ones(1, 200, WIDTH))
    for each, sign in ((index, 1), (clone, -1)):
        found = each.search(torch.cat([words[:, 7:8], sign * torch.ones(1, 1, WIDTH)], 1), 1)
        assert found.slots[0, 0, 0] == 7 and found.slots[0, 1, 0] >= 80
        assert found.scores.sub(1).abs().max() < 1e-4


def test_nothing_is_reserved_for_a_capacity_beyond_all_memory() -> None:
    index = make_index("exact", batch_size=1, capacity=2**40, word_size=WIDTH)
    index.update(torch.arange(80).unsqueeze(0), torch.randn(1, 80, WIDTH))
    assert index.stats().nbytes < 2**26


@pytest.mark.parametrize("copies", [False, True])
def test_lists_that_outgrow_the_array_stay_where_they_are(copies: bool, monkeypatch) -> None:
    words, generator = torch.randn(4_000, 3), torch.Generator().manual_seed(0)
    lists = InvertedLists(1, 1, 50, words, copies=copies)
    home = torch.randint(50, (4_000,), generator=generator)
    first = torch.arange(1, 1_001)
    lists.fill(first, home[first].unsqueeze(1), words)
    monkeypatch.setattr(lists, "pack", lambda lengths=None: pytest.fail("all lists were moved"))
    before, begin = lists.places, 1_001
    while lists.places == before:
        rows = torch.arange(begin, begin + 20)
        lists.move(rows, home[rows].unsqueeze(1), words)
        begin += 20
    places, which = lists.content(torch.arange(50))
    rows = lists.rows_at(places)
    assert torch.equal(rows.sort().values, torch.arange(1, begin))
    assert torch.equal(home[rows], which)
    assert torch.equal(lists.words_at(places, words), words[rows])


def test_lists_are_moved_where_they_have_less_than_half_of_the_array() -> None:
    words = torch.randn(4_000, 3)
    lists = InvertedLists(1, 1, 400, words, copies=True)
    every = torch.arange(1, 4_000)
    lists.fill(every, (every % 400).unsqueeze(1), words)
    lists.move(every[3:], torch.full((3_996, 1), -1), words)
    lists.tighten(400)
    long = lists.places
    lists.make_room()
    assert lists.places < long and lists.content(torch.arange(400))[0].shape == (3,)
