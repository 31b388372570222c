"""Indexes with lists over their life: recall, drift, growth, tables made anew."""

import pytest
import torch

from index import HashedIndex
from index.bench.traffic import Traffic
from tests.index.hashed_cases import (
    KINDS,
    LEAST,
    LEAST_AT_ONCE,
    SIZE,
    hashed,
    rebuilds,
    recall,
    settle,
    traffic,
)
from tests.index.oracle import DictIndex


def churn(index: HashedIndex, source: Traffic, count: int) -> None:
    """Replaces words as a model does, 36 of each memory at a time."""
    for slots, words in source.updates(count, per_call=36):
        index.update(slots, words)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("batch", "width"), [(2, 16), (4, 32)])
def test_recall_fresh_after_churn_and_of_hot_words(kind: str, batch: int, width: int) -> None:
    index, source = hashed(kind, batch=batch, width=width), traffic(batch=batch, width=width)
    index.load(source.fill())
    assert recall(index, source.queries(256)) >= LEAST
    churn(index, source, SIZE)
    assert recall(index, source.queries(256)) >= LEAST_AT_ONCE
    settle(index, source)
    assert recall(index, source.queries(256)) >= LEAST
    for slots, words in source.rewrites(300, hot=256, noise=0.1):
        index.update(slots, words)
    assert recall(index, source.queries(256)) >= LEAST_AT_ONCE
    settle(index, source)
    assert recall(index, source.queries(256)) >= LEAST
    assert index.occupancy.tolist() == [SIZE] * batch
    assert index.stats().candidates < SIZE / 3, "or it would be no wonder"
    assert index.stats().unplaced == 0


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", KINDS)
def test_recall_of_words_of_different_lengths(kind: str, metric) -> None:
    """Clusters are longer and shorter; the metrics disagree about who is near."""
    index, source = hashed(kind, metric=metric), traffic()
    words = source.fill() * (0.5 + torch.rand(2, SIZE, 1))
    index.load(words)
    queries = words[:, :512] + 0.3 * torch.randn(2, 512, 16) / 4
    index.search(queries, 8)
    assert recall(index, queries) >= LEAST
    most = SIZE / 2 if (kind, metric) == ("lsh", "dot") else SIZE / 4
    assert index.stats().candidates < most * index.size(SIZE).tables ** 0.5, "or it is no wonder"


def test_lists_follow_the_words_without_being_made_anew() -> None:
    """Fixed ones have to look into more lists for the same recall."""
    source, other = traffic(), traffic(seed=1)
    indexes = [hashed("ivf", refresh_after=after) for after in (None, 0)]
    words = source.fill()
    for index in indexes:
        index.load(words)
    other.fill()
    for slots, new in other.updates(SIZE, per_call=36):
        for index in indexes:
            index.update(slots, new)
    queries, candidates = other.queries(256), []
    for index in indexes:
        assert rebuilds(index) == 1
        settle(index, other)
        assert recall(index, queries) >= LEAST
        candidates.append(index.stats().candidates)
    assert candidates[0] < 0.9 * candidates[1]


@pytest.mark.parametrize("kind", ["ivf", "product"])
def test_new_words_of_the_same_kind_are_no_drift(kind: str) -> None:
    """Nor where what was learned fits the words that it was learned from better than any others."""
    index = hashed(kind)
    index.load(torch.randn(2, SIZE, 16))
    for start in range(0, 2 * SIZE, 64):
        slots = torch.arange(start, start + 64) % SIZE
        index.update(slots.expand(2, -1), torch.randn(2, 64, 16))
    assert rebuilds(index) == 1


@pytest.mark.parametrize("kind", ["product", "lsh"])
def test_what_was_learned_once_is_learned_anew(kind: str) -> None:
    """Of `product` since words fit worse, of `lsh` since all were replaced."""
    index, source = hashed(kind), traffic()
    index.load(source.fill())
    source.renew()
    churn(index, source, SIZE)
    assert rebuilds(index) == 2
    assert recall(index, source.queries(256)) >= LEAST


@pytest.mark.parametrize("kind", KINDS)
def test_a_refresh_on_schedule(kind: str) -> None:
    """Words of all memories count; those that were removed do too."""
    index, source = hashed(kind, 1024, refresh_after=1), traffic(size=1024)
    index.load(source.fill())
    for number in range(1, 4):
        churn(index, source, 1024 - 64)  # 26 calls of 36, and one of 24
        assert rebuilds(index) == number
        churn(index, source, 64)
        assert rebuilds(index) == 1 + number
    for _ in range(16):
        assert rebuilds(index) == 4
        index.remove(torch.arange(64).expand(2, -1))
        index.update(torch.arange(64).expand(2, -1), source.fill()[:, :64])
        churn(index, source, 0)
        if rebuilds(index) > 4:
            break
    assert rebuilds(index) == 5


@pytest.mark.parametrize("kind", ["ivf", "auto"])
def test_lists_grow_with_the_words(kind: str) -> None:
    """Whether room was reserved or not, tables are made once."""
    indexes = [hashed(kind, 2**20, exact_below=257) for _ in range(2)]
    indexes[0].reserve(SIZE)
    source = traffic()
    words = source.fill()
    for start in range(0, SIZE, 64):
        slots = torch.arange(start, min(start + 64, SIZE)).expand(2, -1)
        for index in indexes:
            index.update(slots, words[:, start : start + 64])
            index.search(words[:, :2], 3)
            assert rebuilds(index) == (slots[0, -1] >= 256)
    for index in indexes:
        assert recall(index, source.queries(256)) >= LEAST
        assert index.stats().candidates < SIZE / 4


# A few hundred words are too few for one to know what the next ones of their kind will be like:
# there codebooks are learned anew between doublings, unless told not to.
@pytest.mark.parametrize(
    ("kind", "few", "options"),
    [("lsh", 257, {"refresh_after": 0}), ("product", 257, {"refresh_after": 0})],
)
def test_growth_makes_tables_at_doublings_only(kind: str, few: int, options: dict) -> None:
    """Whether room was reserved or not."""
    indexes = [hashed(kind, 2**20, exact_below=few, **options) for _ in range(2)]
    indexes[0].reserve(SIZE)
    source = traffic()
    words, seen = source.fill(), ({}, {})
    for start in range(0, SIZE, 64):
        slots = torch.arange(start, min(start + 64, SIZE)).expand(2, -1)
        for index in indexes:
            index.update(slots, words[:, start : start + 64])
            index.search(words[:, :2], 3)
        for index, when in zip(indexes, seen, strict=True):
            when.setdefault(rebuilds(index), start + slots.shape[1])
    doublings = (0, *(limit for limit in (256, 512, 1024, 2048) if limit >= few - 1))
    for index, when in zip(indexes, seen, strict=True):
        assert list(when) == list(range(len(doublings)))
        limits = zip(when.values(), doublings, strict=True)
        assert all(limit < used <= limit + 64 for used, limit in limits)
        assert recall(index, source.queries(256)) >= LEAST


@pytest.mark.parametrize("kind", ["lsh", "product"])
def test_tables_shrink_once_an_eighth_is_in_use(kind: str) -> None:
    index, source = hashed(kind), traffic()
    words = source.fill()
    index.update(torch.arange(600).expand(2, -1), words[:, :600])
    late = torch.full((2, 1), SIZE - 1)
    late[1] = -1
    index.update(late, words[:, :1])
    index.search(words[:, :2], 3)
    made = rebuilds(index)
    index.reset(torch.tensor([True, False]))  # 600 of 4096 slots are left
    index.search(words[:, :2], 3)
    assert rebuilds(index) == made
    index.update(torch.arange(500).expand(2, -1), words[:, :500])
    index.reset(torch.tensor([False, True]))  # 500
    index.search(words[:, :2], 3)
    assert rebuilds(index) == made + 1
    assert index.occupancy.tolist() == [500, 0]
    assert index.search(words[:, :1], 1).slots.flatten().tolist() == [0, -1]


@pytest.mark.parametrize("kind", KINDS)
def test_some_memories_begin_again(kind: str) -> None:
    """The others are not touched; of a memory with few words all are found."""
    index, source = hashed(kind, batch=3, probes=8), traffic(batch=3)
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
            if start == 108:
                exact = index.search_exact(queries, 8).slots[1]
                assert torch.equal(index.search(queries, 8).slots[1], exact)
    if kind != "ivf":  # its lists of all memories are kept fit
        after = index.search(queries, 8)
        for b in (0, 2):
            assert torch.equal(before.slots[b], after.slots[b])
    assert index.occupancy.tolist() == [SIZE, 720, SIZE]
    assert index.stats().unplaced == 0
    own = index.search(words[:, :720], 1)
    assert (own.slots[1, :, 0] == torch.arange(720)).sum() >= 700


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
    queries = source.queries(256)
    assert recall(index, queries) >= LEAST
    assert (index.search(queries, 8).slots % 2 == 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_large_updates(kind: str) -> None:
    """Of a quarter and more the tables are made anew; otherwise thousands of words move at once."""
    index, source = hashed(kind), traffic()
    index.load(source.fill())
    for slots, words in source.updates(SIZE, per_call=1024):
        index.update(slots, words)
    assert rebuilds(index) == 5
    assert recall(index, source.queries(256)) >= LEAST
    for slots, words in source.updates(SIZE - 4, per_call=1023):
        index.update(slots, words)
    assert rebuilds(index) == 5
    assert recall(index, source.queries(256)) >= LEAST_AT_ONCE
    settle(index, source)
    assert recall(index, source.queries(256)) >= LEAST
    oracle = DictIndex(2)
    slots, words = torch.arange(SIZE).expand(2, -1), source.fill()
    for store in (index, oracle):
        store.update(slots, words)
    found, best = index.search(source.queries(64), 8), index.search_exact(source.queries(64), 8)
    assert (found.slots >= 0).all() and (best.slots >= 0).all()
    oracle.assert_agrees(index, source.queries(4), SIZE)
