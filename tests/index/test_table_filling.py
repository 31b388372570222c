"""Tables of an index that grows are filled by and by; meanwhile every word is compared."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from index import IndexConfig, load_index, make_index, recall_at_k
from index.hashed import HashedIndex
from index.list_costs import Rest
from index.table_filling import Filling, begins_with

WIDTH, WORDS = 128, 2400  # under l2 lists are tried from 1,024 words on


def words_of(count: int, batch: int = 1, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    centers = torch.randn(batch, 40, WIDTH, generator=random)
    which = torch.randint(40, (batch, count, 1), generator=random).expand(-1, -1, WIDTH)
    return centers.gather(1, which) + torch.randn(batch, count, WIDTH, generator=random) / 8


def grown(kind: str, words: Tensor, count: int) -> HashedIndex:
    """An index of so many words that came some at a time, with a search at the end."""
    index = make_index(
        IndexConfig(kind=kind, metric="l2"),
        batch_size=len(words),
        capacity=4096,
        word_size=WIDTH,
    )
    assert isinstance(index, HashedIndex)
    for slots in torch.arange(count).split(200):
        index.update(slots.expand(len(words), -1).contiguous(), words[:, slots])
    index.search(words[:, :4], 5)
    return index


def recall(index: HashedIndex, queries: Tensor) -> float:
    """Of one search."""
    return float(recall_at_k(index.search(queries, 5), index.search_exact(queries, 5)).mean())


@pytest.mark.parametrize("kind", ["auto", "ivf"])
@pytest.mark.parametrize("batch", [1, 2])
def test_all_words_come_to_lie_in_lists(kind: str, batch: int) -> None:
    words = words_of(WORDS + 300, batch)
    index = grown(kind, words, WORDS)
    asked = words[:, ::50] + 0.01
    assert index._filling is not None
    generator = torch.Generator().manual_seed(1)
    for call in range(60):
        slots = torch.randperm(WORDS, generator=generator)[:20].expand(batch, -1).contiguous()
        index.update(slots, words[:, WORDS + torch.arange(20) + call % 10])
        index.remove((slots[:, :1] + 1) % WORDS)
        assert recall(index, asked) == 1
        assert index.stats().candidates == index._in_use
        if index._filling is None:
            break
    assert index._filling is None and index._lists is not None
    homes = index._lists.list_of(torch.arange(len(index._flat)))[:, 0]
    assert torch.equal(homes >= 0, index._penalty.flatten() == 0)
    most = index._lists.lengths.max()
    assert WORDS / index._lists.lists / 2 < most < 150  # they were divided meanwhile
    assert recall(index, asked) >= 0.85


def test_no_call_puts_many_words(monkeypatch: pytest.MonkeyPatch) -> None:
    words, put = words_of(WORDS), []
    original = HashedIndex._put_words
    monkeypatch.setattr(
        HashedIndex,
        "_put_words",
        lambda self, slots, given: put.append(slots.numel()) or original(self, slots, given),
    )
    index = grown("ivf", words, WORDS)
    assert index._filling is not None and begins_with(index) <= WORDS
    searches = 0
    while index._filling is not None:
        put.clear()
        index.search(words[:, :4], 5)
        searches += 1
        assert sum(put) <= 512
    assert 2 <= searches <= 10


def test_words_that_come_at_once_are_put_at_once() -> None:
    index = make_index(IndexConfig(kind="ivf", metric="l2"), capacity=4096, word_size=WIDTH)
    words = words_of(WORDS)
    index.load(words[0])
    assert isinstance(index, HashedIndex) and index._filling is None
    assert index._lists is not None and int(index._lists.words_in()) == WORDS


def test_copies_and_files_of_one_that_is_being_filled(tmp_path: Path) -> None:
    words = words_of(WORDS, 2)
    index = grown("ivf", words, WORDS)
    assert isinstance(index._filling, Filling)
    index.save(tmp_path / "words.index")
    others = [copy.deepcopy(index), load_index(tmp_path / "words.index"), index]
    for other in others:
        assert isinstance(other, HashedIndex)
        other.search(words[:, :4], 5)
        while other._filling is not None:
            assert recall(other, words[:, ::40] + 0.01) == 1
        assert other._lists is not None
        assert other._lists.words_in().tolist() == [WORDS, WORDS]


def test_lists_are_not_given_up_at_once() -> None:
    rest = Rest()
    rest.written(100)
    assert not rest.is_due(3200) and rest.is_due(1600)
    rest.begin(1600)
    assert rest.lasts(1600) and not rest.is_due(1600)
    rest.written(3200)
    assert not rest.lasts(1600)


def test_lists_that_are_met_beyond_the_budget_count() -> None:
    """Nine of ten words are equal and lie in one list, so a query of them meets all of these."""
    random = torch.Generator().manual_seed(2)
    words = torch.randn(1, 8192, 64, generator=random)
    words[:, torch.rand(8192, generator=random) < 0.9] = words[:, :1].clone()
    index = make_index(
        IndexConfig(kind="ivf", metric="l2"), batch_size=1, capacity=8192, word_size=64
    )
    index.load(words)
    assert isinstance(index, HashedIndex)
    met = []
    for call in range(60):
        asked = words[:, call * 32 : call * 32 + 32] + 0.05
        index.search(asked, 5)
        met.append(index.stats().candidates)
    assert met[-1] == 8192  # every word is compared, in one product


@pytest.mark.parametrize("by_exchange", [True, False])
def test_a_time_without_tables_is_counted_in_words_of_each_memory(by_exchange: bool) -> None:
    """Of four memories it is as long as of one."""
    index = make_index("ivf", batch_size=4, capacity=1000, word_size=4)
    assert isinstance(index, HashedIndex)
    words, slots = torch.randn(4, 500, 4), torch.arange(500).expand(4, -1).contiguous()
    index.update(slots, words)
    index._rest.begin(500)  # until 1,000 words were written
    for lasts in (True, False):
        if by_exchange:
            index.exchange(slots, words, words[:, :1], 1)
        else:
            index.update(slots, words)
        assert index._rest.lasts(500) == lasts
