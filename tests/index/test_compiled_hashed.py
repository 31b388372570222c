"""Compiled forms of the indexes with buckets, against the torch form and against dictionaries."""

import pytest
import torch
from torch import Tensor

from index import HashedIndex, IndexConfig, make_index
from index.config import Metric
from tests.index.hashed_cases import KINDS, SIZE, hashed, recall, traffic
from tests.index.oracle import DictIndex

pytest.importorskip("numba")
METRICS: tuple[Metric, ...] = ("cosine", "dot", "l2")
# With these every word is found: all buckets are looked into, and each has room for all words.
THOROUGH = {"buckets": 16, "bucket_size": 256, "probes": 16}


def make(kind: str, dtype: torch.dtype = torch.float32, **options) -> HashedIndex:
    """An empty index of two memories, which never compares all words."""
    config = IndexConfig(kind=kind, **({"exact_below": 0} | options))
    index = make_index(config, batch_size=2, capacity=2**12, word_size=6, dtype=dtype)
    assert isinstance(index, HashedIndex)
    return index


def assert_whole(index: HashedIndex) -> None:
    """Every word is where the tables say, at most once in each, and nothing else is there."""
    buckets = index._buckets
    assert buckets is not None
    held, places = buckets._rows[: buckets.places], buckets._places
    there = places < buckets.places
    rows, tables = there.nonzero(as_tuple=True)
    taken = places[rows, tables].long()
    assert len(taken.unique()) == len(taken) == int(buckets.taken()), "a place for two"
    assert torch.equal(held[taken].long(), rows)
    memory, room = rows // (1 + index._room), rows % (1 + index._room)
    number = taken // buckets.size // buckets.buckets
    assert torch.equal(number, memory * buckets.tables + tables), "another's table"
    assert (index._penalty[memory, room] == 0).all(), "a word that was removed"
    if buckets._words is not None:
        assert torch.equal(buckets._words[taken], index._flat[rows])


def compare(first: HashedIndex, second: HashedIndex, queries: Tensor, k: int) -> None:
    """They find the same, to rounding, and count the same."""
    found, expected = first.search(queries, k), second.search(queries, k)
    assert torch.equal(found.slots, expected.slots)
    torch.testing.assert_close(found.scores, expected.scores, rtol=1e-12, atol=1e-12)
    assert torch.equal(first.occupancy, second.occupancy)
    assert first.stats().candidates == second.stats().candidates
    assert first.stats().unplaced == second.stats().unplaced
    assert first.stats().rebuilds == second.stats().rebuilds


@pytest.mark.parametrize("options", [{}, {"buckets": 64, "bucket_size": 48}])
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
def test_words_go_to_the_same_places(kind: str, metric: Metric, options) -> None:
    """Growth, full buckets, removals and resets on the way: the tables are alike to the last place.

    Words of few clusters come several at a time, so that many want one place. In float64, as
    rounding may put a word on the other side of a hyperplane.
    """
    dtype = torch.float64
    options = {"metric": metric} | options
    indexes = [make(kind, dtype, compiled=compiled, **options) for compiled in (True, False)]
    centres = torch.randn(2, 6, 6, dtype=dtype)
    for step in range(150):
        most = 40 + 2 * step
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
        compare(*indexes, queries, 4)
        if step % 30 == 29:
            for index in indexes:
                index.remove(torch.randint(-1, 40, (2, 5), generator=torch.Generator()))
                index.reset(torch.tensor([step == 89, False]))
    real, plain = (index._buckets for index in indexes)
    assert real is not None and plain is not None
    assert torch.equal(real._rows[: real.places], plain._rows[: plain.places])
    assert torch.equal(real._places, plain._places)
    assert int(real.taken()) > 100
    assert_whole(indexes[0])
    if kind != "lsh":
        torch.testing.assert_close(
            torch.as_tensor(indexes[0]._drift._error).float(),
            torch.as_tensor(indexes[1]._drift._error).float(),
        )


@pytest.mark.parametrize("kind", ["ivf", "product"])
def test_a_slot_that_comes_twice_is_one_word(kind: str) -> None:
    """For what is noticed of drift too."""
    indexes = [make(kind, compiled=compiled) for compiled in (True, False)]
    words = torch.randn(2, 300, 6)
    for index in indexes:
        index.load(words)
        index.reserve(300)
        index.search(words[:, :1], 1)
        slots = torch.tensor([[7, 9, 7, -1], [9, 9, 9, 8]])
        index.exchange(slots, words[:, :1].expand(-1, 4, -1), words[:, :2], 3)
    compiled, plain = (index._drift for index in indexes)
    assert int(compiled._count) == int(plain._count) == 4
    torch.testing.assert_close(torch.as_tensor(compiled._error).float(), plain._error)
    assert compiled._replaced == plain._replaced == 304
    assert_whole(indexes[0])


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
        index.config = IndexConfig(
            kind=kind, metric=metric, compiled=step % 5 < 4, exact_below=0, **THOROUGH
        )
        index.reserve(30 + 4 * step)
        index.exchange(slots, words, queries, 4)
        oracle.update(slots, words)
        oracle.assert_agrees(index, queries, 5)
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
        for slots, words in source.updates(2 * SIZE, per_call=36):
            index.update(slots, words)
        shares.append(recall(index, source.queries(256)))
        assert_whole(index)
    assert shares[0] >= shares[1] - 0.005
    assert shares[0] > 0.9


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("buckets", [1, 2, 16, 130, 1000])
def test_queries_look_where_those_of_the_torch_form_do(kind: str, metric, buckets: int) -> None:
    """From the best bucket on, whatever number of buckets and probes."""
    options = {"metric": metric, "compiled": True, "buckets": buckets, "bucket_size": 32}
    for probes in (1, 3, 16, 50):
        index = make(kind, torch.float64, probes=probes, **options)
        index.load(torch.randn(2, 2**12, 6, dtype=torch.float64))
        queries = torch.randn(2, 5, 6, dtype=torch.float64)
        index.search(queries, 3)
        assert index._hash is not None and index._probed is not None
        scaled = index._scaled(queries)
        assert torch.equal(index._probed, index._hash.probes(scaled))


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
    held = index._buckets
    assert held is not None and int((held._places < held.places).sum()) == int(held.taken())


def test_an_update_that_makes_the_tables_anew_comes_before_the_search() -> None:
    index, source = hashed("ivf", compiled=True), traffic()
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
        before = {k: v.clone() for k, v in vars(hashed_by).items() if isinstance(v, Tensor)}
        index.update(torch.arange(50).expand(2, -1), torch.randn(2, 50, 6))
        index.search(torch.randn(2, 9, 6), 5)
        after = vars(hashed_by)
        assert before and all(torch.equal(v, after[k]) for k, v in before.items())


@pytest.mark.parametrize("compiled", [True, False])
def test_more_probes_than_hyperplanes_can_be_crossed_for(compiled: bool) -> None:
    """Of 2^12 buckets a query looks into no more than 2^10, of the 10 nearest hyperplanes."""
    options = {"buckets": 2**12, "probes": 3000, "tables": 1, "compiled": compiled}
    index = hashed("lsh", 64, batch=1, width=16, **options)
    words = torch.randn(1, 64, 16)
    index.load(words)
    found = index.search(words, 1)
    assert found.slots[0, :, 0].tolist() == list(range(64))
    assert index._probed is not None and index._probed.shape[3] == 2**10
    assert len(index._probed[0, 0, 0].unique()) == 2**10
    assert index._probed.min() >= 0 and index._probed.max() < 2**12


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
