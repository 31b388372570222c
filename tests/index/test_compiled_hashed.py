"""Compiled forms of the indexes with lists, against the torch form and against dictionaries."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from index import HashedIndex, IndexConfig, make_index
from index.config import Metric
from index.ivf import Lists
from index.list_budget import COMPILED_K
from tests.index.hashed_cases import KINDS, LEAST_AT_ONCE, SIZE, hashed, recall, traffic
from tests.index.oracle import DictIndex

pytest.importorskip("numba")
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
# With these every word is found: a query meets as many words as there are in all lists.
THOROUGH = {"buckets": 16, "probes": 2**16}


def make(kind: str, dtype: torch.dtype = torch.float32, **options) -> HashedIndex:
    """An empty index of two memories, which never compares all words."""
    config = IndexConfig(kind=kind, **({"exact_below": 0} | options))
    index = make_index(config, batch_size=2, capacity=2**12, word_size=6, dtype=dtype)
    assert isinstance(index, HashedIndex)
    return index


def contents(index: HashedIndex) -> list[list[int]]:
    """Rows in each list, ascending: the order in a list has no meaning."""
    lists = index._lists
    assert lists is not None
    every = torch.arange(len(lists.lengths))
    places, which = lists.content(every)
    rows = lists.rows_at(places)
    return [
        sorted(part.tolist())
        for part in rows.split(torch.bincount(which, minlength=len(every)).tolist())
    ]


def assert_whole(index: HashedIndex) -> None:
    """Every word is in one list of each table, and nothing else is there."""
    lists = index._lists
    assert lists is not None
    places, which = lists.content(torch.arange(len(lists.lengths)))
    rows = lists.rows_at(places)
    tables = which.div(lists.lists, rounding_mode="floor")
    memory, room = rows // (1 + index._room), rows % (1 + index._room)
    assert (memory == tables // lists.tables).all(), "another memory's word"
    assert (index._penalty[memory, room] == 0).all(), "a word that was removed"
    pairs = rows * lists.tables + tables % lists.tables
    assert len(pairs.unique()) == len(pairs) == int(index.occupancy.sum()) * lists.tables
    assert torch.equal(lists._place_of.view(-1)[pairs].long(), places)
    assert torch.equal(lists._list_of.view(-1)[pairs].long(), which)
    assert torch.equal(lists.words_at(places, index._flat), index._words_at(rows))


def compare(first: HashedIndex, second: HashedIndex, queries: Tensor, k: int) -> None:
    """They find the same, to rounding, and count the same."""
    found, expected = first.search(queries, k), second.search(queries, k)
    assert torch.equal(found.slots, expected.slots)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
    assert torch.equal(first.occupancy, second.occupancy)
    one, two = first.stats(), second.stats()
    assert one.candidates == two.candidates
    assert (one.rebuilds, one.recall_target) == (two.rebuilds, two.recall_target)
    assert one.recall_estimate == pytest.approx(two.recall_estimate)


@pytest.mark.parametrize("options", [{}, {"probes": 3, "buckets": 64}, {"recall": 0.6}])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_words_go_to_the_same_lists(kind: str, metric: Metric, options) -> None:
    """Growth, uneven lists, removals and resets on the way.

    Words of few clusters come several at a time, so that many want one list. In float64, as
    rounding may put a word on the other side of a hyperplane.
    """
    dtype = torch.float64
    options = {"metric": metric} | options
    indexes = [make(kind, dtype, compiled=compiled, **options) for compiled in (True, False)]
    centres = torch.randn(2, 6, 6, dtype=dtype)
    for step in range(45):
        most = 40 + 5 * step
        count = int(torch.randint(1, 16, ()))
        slots = torch.stack([torch.randperm(most)[:count] for _ in range(2)])
        slots = slots.masked_fill(torch.rand(2, count) < 0.1, -1)
        words = centres[:, torch.randint(6, (count,))]
        words = words + 0.1 * torch.randn(2, count, 6, dtype=dtype)
        queries = torch.randn(2, 3, 6, dtype=dtype)
        for index in indexes:
            index.reserve(most)
            if step % 3:
                index.exchange(slots, words, queries, 4)
            else:
                index.update(slots, words)
                index.search(queries, 4)
        compare(*indexes, queries, 4)
        if step % 30 == 29:
            for index in indexes:
                index.remove(torch.randint(-1, 40, (2, 5), generator=torch.Generator()))
                index.reset(torch.tensor([step == 29, False]))
    assert contents(indexes[0]) == contents(indexes[1])
    for index in indexes:
        assert_whole(index)


@pytest.mark.parametrize("kind", ["ivf", "product"])
def test_a_slot_that_comes_twice_is_one_word(kind: str) -> None:
    indexes = [make(kind, compiled=compiled) for compiled in (True, False)]
    words = torch.randn(2, 300, 6)
    for index in indexes:
        index.load(words)
        index.search(words[:, :1], 1)
        slots = torch.tensor([[7, 9, 7, -1], [9, 9, 9, 8]])
        index.exchange(slots, words[:, :1].expand(-1, 4, -1), words[:, :2], 3)
        assert_whole(index)
    assert contents(indexes[0]) == contents(indexes[1])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_either_form_goes_on_where_the_other_stopped(kind: str, metric: Metric) -> None:
    dtype = torch.float64
    index, plain = (make(kind, dtype, metric=metric, compiled=False) for _ in range(2))
    source = torch.Generator().manual_seed(0)
    for store in (index, plain):
        store.load(torch.randn(2, 1500, 6, dtype=dtype, generator=torch.Generator().manual_seed(1)))
    for step in range(60):
        slots = torch.randperm(1500, generator=source)[:20].expand(2, -1).contiguous()
        words = torch.randn(2, 20, 6, dtype=dtype, generator=source)
        queries = torch.randn(2, 3, 6, dtype=dtype, generator=source)
        index.config = replace(index.config, compiled=step % 4 < 2)
        for store in (index, plain):
            store.exchange(slots, words, queries, 4)
        compare(index, plain, queries, 4)
    assert contents(index) == contents(plain)
    assert_whole(index)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_words_at_a_time_are_all_found(kind: str, metric: Metric) -> None:
    """With every bucket looked into, and now and then by the other form, all is as in a dict."""
    index, oracle = make(kind, metric=metric, **THOROUGH), DictIndex(2, metric)
    for step in range(40):
        slots = torch.randint(-1, 30 + 4 * step, (2, 12))
        slots[1] = slots[0]
        first = (slots.unsqueeze(2) == slots.unsqueeze(1)).int().argmax(2)[0]
        words, queries = torch.randn(2, 12, 6)[:, first], torch.randn(2, 3, 6)
        index.config = replace(index.config, compiled=step % 5 < 4)
        index.reserve(30 + 4 * step)
        index.exchange(slots, words, queries, 4)
        oracle.update(slots, words)
        oracle.assert_agrees(index, queries, 5)
        assert torch.equal(index.search(queries, 5).slots, index.search_exact(queries, 5).slots)
        if step % 7 == 6:
            index.remove(slots[:, :3])
            oracle.remove(slots[:, :3])
        if step == 25:
            index.reset(torch.tensor([False, True]))
            oracle.reset(torch.tensor([False, True]))
        index.search(queries, 1)
        assert_whole(index)
    found, best = index.search(queries, 6), index.search_exact(queries, 6)
    assert torch.equal(found.slots, best.slots)


@pytest.mark.parametrize("kind", KINDS)
def test_recall_after_churn_is_that_of_the_torch_form(kind: str) -> None:
    shares = []
    for compiled in (True, False):
        index, source = hashed(kind, compiled=compiled), traffic()
        index.load(source.fill())
        for slots, words in source.updates(SIZE, per_call=36):
            index.update(slots, words)
        shares.append(recall(index, source.queries(256)))
        assert_whole(index)
    assert shares[0] == pytest.approx(shares[1], abs=0.02)
    assert shares[0] >= LEAST_AT_ONCE


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("buckets", [1, 2, 16, 130, 1000])
def test_queries_look_where_those_of_the_torch_form_do(kind: str, metric, buckets: int) -> None:
    """From the best list on, whatever number of lists and probes; in the same tables."""
    options = {"metric": metric, "buckets": buckets, "probes": 1}
    index = make(kind, torch.float64, **options)
    index.load(torch.randn(2, 2**12, 6, dtype=torch.float64))
    for probes in (1, 3, 16, 50):
        queries = torch.randn(2, 5, 6, dtype=torch.float64)
        index.config = replace(index.config, probes=probes, compiled=True)
        found, candidates = index.search(queries, 3), index.stats().candidates
        index.config = replace(index.config, compiled=False)
        expected = index.search(queries, 3)
        assert torch.equal(found.slots, expected.slots)
        torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
        assert index.stats().candidates == candidates


@pytest.mark.parametrize("metric", METRICS)
def test_most_words_are_in_their_nearest_list_if_there_are_many(metric: Metric) -> None:
    """With 512 lists and more the compiled form looks for them in the nearest groups only.

    A few are elsewhere in both forms, as centroids move.
    """
    for compiled in (True, False):
        index = make("ivf", torch.float64, metric=metric, buckets=1000, compiled=compiled)
        index.load(torch.randn(2, 2**12, 6, dtype=torch.float64))
        index.update(torch.arange(500).expand(2, -1), torch.randn(2, 500, 6).double())
        lists, hashed_by = index._lists, index._hash
        assert lists is not None and hashed_by is not None
        best = hashed_by.choices(index._words[:, 1 : 1 + 2**12]).lists
        rows = index._rows(torch.arange(2**12).expand(2, -1))
        own = lists.list_of(rows).view(best.shape)
        assert (own == lists.number(best)).double().mean() >= 0.98


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_one_number(kind: str) -> None:
    indexes = []
    for compiled in (True, False):
        config = IndexConfig(kind=kind, metric="l2", exact_below=0, compiled=compiled)
        sizes = {"batch_size": 1, "capacity": 512, "word_size": 1}
        index = make_index(config, dtype=torch.float64, **sizes)
        assert isinstance(index, HashedIndex)
        index.load(torch.arange(512.0).view(1, -1, 1))
        index.update(torch.tensor([[5]]), torch.tensor([[[700.25]]]))
        indexes.append(index)
    compare(*indexes, torch.tensor([[[700.0], [17.2]]]), 2)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("metric", METRICS)
def test_numbers_beyond_the_range_do_no_harm(kind: str, metric: Metric) -> None:
    """What is found is not said, but the tables stay whole."""
    index = make(kind, metric=metric, compiled=True)
    index.load(torch.randn(2, 300, 6))
    index.reserve(300)
    huge = 3e38 * torch.ones(2, 7, 6) * (torch.randn(2, 7, 6) > 0)
    slots = torch.randint(300, (2, 1)) + torch.arange(7)
    for _ in range(3):
        found = index.exchange(slots.clamp(max=299)[:, :1], huge[:, :1], huge, 3)
        assert ((found.slots >= -1) & (found.slots < 300)).all()
    index.search(torch.randn(2, 2, 6), 3)
    assert_whole(index)


@pytest.mark.parametrize("kind", KINDS)
def test_an_update_that_makes_the_tables_anew_comes_before_the_search(kind: str) -> None:
    index, source = hashed(kind, compiled=True, refresh_after=1), traffic()
    words = source.fill()
    index.load(words[:, : SIZE // 2])
    index.reserve(SIZE)
    slots = torch.arange(SIZE // 2, SIZE).expand(2, -1)
    found = index.exchange(slots, words[:, SIZE // 2 :], words[:, -2:], 1)
    assert found.slots.flatten().tolist() == [SIZE - 2, SIZE - 1] * 2
    assert index.stats().rebuilds == 2
    source.renew()
    for slots, new in source.updates(SIZE, per_call=60):  # learned anew in the midst of an exchange
        made = index.stats().rebuilds
        found = index.exchange(slots, new, new[:, :1], 1)
        if index.stats().rebuilds > made:
            assert torch.equal(found.slots[:, :, 0], slots[:, :1])
    assert index.stats().rebuilds == 3
    assert_whole(index)


def test_a_subclass_with_a_search_of_its_own_keeps_it() -> None:
    from index.ivf import IVFIndex

    class Blind(IVFIndex):
        def _search(self, queries: Tensor, k: int):
            found = super()._search(queries, k)
            return found._replace(slots=torch.full_like(found.slots, -1))

    config = IndexConfig(kind="ivf", compiled=True, exact_below=0)
    index = Blind(config, batch_size=1, capacity=64, word_size=4)
    index.reserve(64)
    words = torch.randn(1, 3, 4)
    assert (index.exchange(torch.arange(3).view(1, -1), words, words, 1).slots == -1).all()


def test_centroids_are_not_touched() -> None:
    """A compiled search alters the scores that it is given, and nothing that is kept."""
    for kind in KINDS:
        index = make(kind, compiled=True)
        index.load(torch.randn(2, 600, 6))
        index.search(torch.randn(2, 1, 6), 1)
        hashed_by = index._hash
        assert hashed_by is not None
        learned = hashed_by.centroids if isinstance(hashed_by, Lists) else hashed_by
        before = {k: v.clone() for k, v in vars(learned).items() if isinstance(v, Tensor)}
        index.search(torch.randn(2, 9, 6), 5)
        after = vars(learned)
        assert before and all(torch.equal(v, after[k]) for k, v in before.items())


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_many_neighbors_are_those_of_the_torch_form(kind: str, metric: Metric) -> None:
    words, queries = torch.randn(2, 1500, 6).double(), torch.randn(2, 3, 6).double()
    forms = [
        make(kind, torch.float64, compiled=compiled, metric=metric, probes=12, buckets=64)
        for compiled in (True, False)
    ]
    for index in forms:
        index.load(words)
    compare(forms[0], forms[1], queries, 200)


def test_where_many_neighbors_are_looked_for_in_torch_lists_pay_for_fewer_words() -> None:
    index = hashed("ivf", 2**15, batch=1, exact_below=None, metric="l2")
    index.load(torch.randn(1, 2**15, 16))
    assert index._hash is not None
    assert index.pays(3000, index._hash, 32, COMPILED_K)
    assert not index.pays(3000, index._hash, 32, COMPILED_K + 1)


@pytest.mark.parametrize("compiled", [True, False])
def test_more_probes_than_hyperplanes_can_be_crossed_for(compiled: bool) -> None:
    """Of 2^12 buckets a query looks into no more than 2^8, of the 8 nearest hyperplanes."""
    options = {"buckets": 2**12, "probes": 3000, "tables": 1, "compiled": compiled}
    index = hashed("lsh", SIZE, batch=1, width=16, **options)
    words = torch.randn(1, SIZE, 16)
    index.load(words)
    found = index.search(words[:, :64], 1)
    assert found.slots[0, :, 0].tolist() == list(range(64))
    assert 2**6 < index.stats().candidates < 2**9


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [1e19, 1e25, 3e38])
def test_words_beyond_the_range_of_squares_are_found_once(kind: str, size: float) -> None:
    """Their scores are of no use; but no bucket is looked into twice, and no slot comes twice."""
    tables = {"tables": 1} if kind == "lsh" else {}
    index = hashed(kind, 64, width=3, metric="l2", probes=20, compiled=True, **tables)
    index.reserve(64)
    words = torch.randn(2, 64, 3).clamp(-1, 1) * size
    for _ in range(2):
        found = index.exchange(torch.arange(64).expand(2, -1), words, words[:, :9], 12).slots
        found = found.sort(2).values
        assert not ((found[..., 1:] == found[..., :-1]) & (found[..., 1:] >= 0)).any()
        assert found.max() < 64 and found.min() >= -1
