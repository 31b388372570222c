"""Indexes with buckets over their life: recall, drift, growth, tables made anew."""

import pytest
import torch

from index import HashedIndex
from index.bench.traffic import Traffic
from tests.index.hashed_cases import KINDS, SIZE, hashed, rebuilds, recall, traffic
from tests.index.oracle import DictIndex


def churn(index: HashedIndex, source: Traffic, count: int) -> None:
    """Replaces words as a model does, 36 of each memory at a time."""
    for slots, words in source.updates(count, per_call=36):
        index.update(slots, words)


@pytest.mark.parametrize(("kind", "least"), [("ivf", 0.95), ("lsh", 0.9), ("product", 0.9)])
@pytest.mark.parametrize(("batch", "width"), [(2, 16), (4, 32)])
def test_recall_fresh_after_churn_and_of_hot_words(
    kind: str, least: float, batch: int, width: int
) -> None:
    index, source = hashed(kind, batch=batch, width=width), traffic(batch=batch, width=width)
    index.load(source.fill())
    assert recall(index, source.queries(128)) >= least
    churn(index, source, 2 * SIZE)
    queries = source.queries(256)
    fresh = recall(index, queries)
    assert fresh >= least
    assert index.stats().unplaced < 0.002 * SIZE * batch
    for slots, words in source.rewrites(300, hot=256, noise=0.1):
        index.update(slots, words)
    assert recall(index, source.queries(256)) >= fresh - 0.02
    assert index.occupancy.tolist() == [SIZE] * batch
    assert index.stats().candidates < SIZE / 3, "or it would be no wonder"


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_recall_of_words_of_different_lengths(kind: str, metric) -> None:
    """Clusters are longer and shorter; the metrics disagree about who is near."""
    index, source = hashed(kind, metric=metric), traffic()
    words = source.fill() * (0.5 + torch.rand(2, SIZE, 1))
    index.load(words)
    queries = words[:, :128] + 0.3 * torch.randn(2, 128, 16) / 4
    assert recall(index, queries) >= (0.87 if (kind, metric) == ("lsh", "dot") else 0.9)
    assert index.stats().candidates < SIZE / 5, "or it would be no wonder"


def test_lists_are_learned_anew_when_the_words_have_drifted() -> None:
    source, other = traffic(), traffic(seed=1)
    index, fixed = hashed("ivf"), hashed("ivf", refresh_after=0)
    words = source.fill()
    for store in (index, fixed):
        store.load(words)
        assert rebuilds(store) == 1
    other.fill()
    for slots, new in other.updates(SIZE, per_call=36):
        for store in (index, fixed):
            store.update(slots, new)
    queries = other.queries(128)
    assert rebuilds(fixed) == 1
    assert rebuilds(index) == 2
    assert recall(index, queries) >= 0.9
    assert recall(fixed, queries) < 0.8
    churn(index, other, 2 * SIZE)
    assert rebuilds(index) == 2, "words of the same kind are no drift"


@pytest.mark.parametrize("kind", ["ivf", "product"])
def test_new_words_of_the_same_kind_are_no_drift(kind: str) -> None:
    """Nor where what was learned fits the words that it was learned from better than any others."""
    index = hashed(kind)
    index.load(torch.randn(2, SIZE, 16))
    for start in range(0, 2 * SIZE, 64):
        slots = torch.arange(start, start + 64) % SIZE
        index.update(slots.expand(2, -1), torch.randn(2, 64, 16))
    assert rebuilds(index) == 1


def test_product_notices_drift_too_and_hyperplanes_need_not() -> None:
    for kind, expected in (("product", 2), ("lsh", 1)):
        index, source = hashed(kind), traffic()
        index.load(source.fill())
        source.renew()
        churn(index, source, SIZE)
        assert rebuilds(index) == expected
        assert recall(index, source.queries(128)) > 0.9


def test_a_refresh_on_schedule() -> None:
    index, source = hashed("ivf", 1024, refresh_after=1), traffic(size=1024)
    index.load(source.fill())
    for number in range(1, 4):
        churn(index, source, 1024 - 64)  # 26 calls of 36, and one of 24
        assert rebuilds(index) == number
        churn(index, source, 64)
        assert rebuilds(index) == 1 + number


# A few hundred words are too few for one to know what the next ones of their kind will be like:
# there lists are learned anew between doublings, unless told not to.
@pytest.mark.parametrize(
    ("kind", "few", "options"),
    [("lsh", 257, {}), ("product", 257, {}), ("ivf", 1025, {}), ("ivf", 257, {"refresh_after": 0})],
)
def test_growth_makes_tables_at_doublings_only(kind: str, few: int, options: dict) -> None:
    """Whether room was reserved or not."""
    indexes = [hashed(kind, 2**20, exact_below=few, **options) for _ in range(2)]
    indexes[0].reserve(SIZE)
    source = traffic()
    words, seen = source.fill(), ({}, {})
    for start in range(0, SIZE, 36):
        slots = torch.arange(start, min(start + 36, SIZE)).expand(2, -1)
        for index in indexes:
            index.update(slots, words[:, start : start + 36])
            index.search(words[:, :2], 3)
        for index, when in zip(indexes, seen, strict=True):
            when.setdefault(rebuilds(index), start + slots.shape[1])
    doublings = (0, *(limit for limit in (256, 512, 1024, 2048) if limit >= few - 1))
    for index, when in zip(indexes, seen, strict=True):
        assert list(when) == list(range(len(doublings)))
        limits = zip(when.values(), doublings, strict=True)
        assert all(limit < used <= limit + 36 for used, limit in limits)
        assert recall(index, source.queries(128)) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_tables_shrink_once_an_eighth_is_in_use(kind: str) -> None:
    index, source = hashed(kind), traffic()
    words = source.fill()
    index.update(torch.arange(600).expand(2, -1), words[:, :600])
    late = torch.full((2, 1), SIZE - 1)
    late[1] = -1
    index.update(late, words[:, :1])
    index.search(words[:, :2], 3)
    large, made = index.nbytes, rebuilds(index)
    index.reset(torch.tensor([True, False]))  # 600 of 4096 slots are left
    index.search(words[:, :2], 3)
    assert (rebuilds(index), index.nbytes) == (made, large)
    index.update(torch.arange(500).expand(2, -1), words[:, :500])
    index.reset(torch.tensor([False, True]))  # 500
    index.search(words[:, :2], 3)
    assert rebuilds(index) == made + 1
    assert index.nbytes < large
    assert index.occupancy.tolist() == [500, 0]
    assert index.search(words[:, :1], 1).slots.flatten().tolist() == [0, -1]


@pytest.mark.parametrize("kind", KINDS)
def test_some_memories_begin_again(kind: str) -> None:
    index, source = hashed(kind, batch=3), traffic(batch=3)
    words = source.fill()
    index.load(words)
    queries = source.queries(64)
    before = index.search(queries, 8)
    for _ in range(3):
        index.reset(torch.tensor([False, True, False]))
        assert index.occupancy.tolist() == [SIZE, 0, SIZE]
        assert (index.search(queries, 8).slots[1] == -1).all()
        for start in range(0, 720, 36):
            slots = torch.full((3, 36), -1)
            slots[1] = torch.arange(start, start + 36)
            index.update(slots, words[:, start : start + 36])
    after = index.search(queries, 8)
    for b in (0, 2):
        assert torch.equal(before.slots[b], after.slots[b])
    assert index.occupancy.tolist() == [SIZE, 720, SIZE]
    unplaced = index.stats().unplaced
    assert unplaced < 0.002 * SIZE * 3
    own = index.search(words[:, :720], 1)
    assert (own.slots[1, :, 0] == torch.arange(720)).sum() >= 720 - unplaced - 2


@pytest.mark.parametrize("kind", KINDS)
def test_half_of_a_small_memory_is_no_large_update(kind: str) -> None:
    index, source = hashed(kind), traffic(size=2048)
    index.load(source.fill())
    slots, words = next(source.updates(1023, per_call=1023))
    index.update(slots, words)
    assert rebuilds(index) == 1
    index.update(slots[:, :36], words[:, :36])
    assert index.search(words[:, :1], 1).slots[:, 0, 0].tolist() == slots[:, 0].tolist()


@pytest.mark.parametrize("kind", KINDS)
def test_free_slots_between_the_words(kind: str) -> None:
    """What stands there is no word to learn from; nor is it found."""
    index, source = hashed(kind, 2 * SIZE), traffic()
    slots, words = torch.arange(0, 2 * SIZE, 2).expand(2, -1), source.fill()
    index.update(slots, words)
    assert index.occupancy.tolist() == [SIZE, SIZE]
    queries = source.queries(64)
    assert recall(index, queries) > 0.9
    assert (index.search(queries, 8).slots % 2 == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_large_updates(kind: str) -> None:
    """Of a quarter and more the tables are made anew; otherwise thousands of words move at once."""
    index, source = hashed(kind), traffic()
    index.load(source.fill())
    for slots, words in source.updates(SIZE, per_call=1024):
        index.update(slots, words)
    assert rebuilds(index) == 5
    assert recall(index, source.queries(128)) > 0.9
    for slots, words in source.updates(SIZE, per_call=1023):
        index.update(slots, words)
    assert rebuilds(index) == 5
    assert recall(index, source.queries(128)) > 0.9
    assert index.stats().unplaced < 0.005 * SIZE * 2
    oracle = DictIndex(2)
    slots, words = torch.arange(SIZE).expand(2, -1), source.fill()
    for store in (index, oracle):
        store.update(slots, words)
    oracle.assert_agrees(index, source.queries(4), 8)
