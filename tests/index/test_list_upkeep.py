"""Lists of `ivf` that follow the words: growth, removed clusters, rows of unequal fill."""

import pytest
import torch
from torch import Tensor

from index import HashedIndex, VectorIndex
from index.ivf import Lists
from index.list_upkeep import LISTS, SHORTEST
from tests.index.hashed_cases import KINDS, LEAST, LEAST_AT_ONCE, hashed, rebuilds, recall
from tests.index.oracle import FORMS


def clusters(count: int, each: int, *, batch: int = 1, width: int = 16, seed: int = 0) -> Tensor:
    """Words in clusters, one after another, [B, count * each, W]."""
    random = torch.Generator().manual_seed(seed)
    centres = torch.randn(batch, count, 1, width, generator=random)
    noise = torch.randn(batch, count, each, width, generator=random)
    return (centres + 0.3 * noise).flatten(1, 2)


def lengths(index: HashedIndex) -> Tensor:
    """Words in each list, int64 [B, n]."""
    assert index._lists is not None
    return index._lists.lengths.view(index.batch_size, -1)


def alive(index: HashedIndex) -> Tensor:
    """Which lists are in use, bool [B, n]; words are in no other."""
    assert isinstance(index._hash, Lists)
    found = index._hash.centroids.alive()
    assert (lengths(index)[~found] == 0).all()
    return found


def ideal(words: int) -> float:
    return max(SHORTEST, words**0.5 / LISTS)


def near(words: Tensor, count: int) -> Tensor:
    some = torch.randperm(words.shape[1], generator=torch.Generator().manual_seed(0))[:count]
    noise = torch.randn(len(words), len(some), words.shape[2], generator=torch.Generator())
    return words[:, some] + noise / 8


@pytest.mark.parametrize("compiled", FORMS)
def test_growth_in_the_order_of_clusters(compiled: bool) -> None:
    """From 300 words to 8,000, 37 at a time: tables are made once."""
    words = clusters(100, 80)
    index = hashed("ivf", 8000, batch=1, compiled=compiled)
    index.load(words[:, :300])
    index.search(words[:, :4], 8)
    made = rebuilds(index)
    for number, start in enumerate(range(300, 8000, 37)):
        slots = torch.arange(start, min(start + 37, 8000)).view(1, -1)
        index.update(slots, words[:, slots[0]])
        used = int(slots[0, -1]) + 1
        assert lengths(index).max() <= 10 * ideal(used)
        index.search(words[:, start - 4 : start], 8)
        if number % 100 == 99:
            queries = near(words[:, :used], 256)
            for _ in range(8):
                index.search(queries.repeat(1, 2, 1), 8)
            assert recall(index, queries) >= LEAST_AT_ONCE
    for _ in range(20):
        index.search(near(words, 512), 8)
    assert recall(index, near(words, 512)) >= LEAST
    assert rebuilds(index) == made
    count = int(alive(index).sum())
    assert 8000 / ideal(8000) / 2 <= count <= 4 * 8000 / ideal(8000)
    assert index.stats().candidates < 1500


def test_no_list_is_three_times_too_long_while_clusters_grow() -> None:
    words, most = clusters(100, 60), 0.0
    index = hashed("ivf", 6000, batch=1)
    index.load(words[:, :300])
    index.search(words[:, :4], 8)
    for start in range(300, 6000, 37):
        slots = torch.arange(start, min(start + 37, 6000)).view(1, -1)
        index.update(slots, words[:, slots[0]])
        most = max(most, float(lengths(index).max()) / ideal(int(slots[0, -1]) + 1))
    assert most <= 3


def test_equal_words_are_not_divided() -> None:
    """Nor tried again and again; another word among them is found."""
    index = hashed("ivf", 4096, batch=1, metric="l2")
    words = torch.ones(1, 4096, 16)
    index.load(words[:, :500])
    index.search(words[:, :1], 1)
    for start in range(500, 4096, 31):
        slots = torch.arange(start, min(start + 31, 4096)).view(1, -1)
        index.update(slots, words[:, slots[0]])
    assert int(lengths(index).max()) >= 3000
    index.update(torch.tensor([[77]]), torch.zeros(1, 1, 16))
    assert index.search(torch.zeros(1, 1, 16), 1).slots.item() == 77


@pytest.mark.parametrize("compiled", FORMS)
def test_after_clusters_were_deleted_few_lists_are_empty(compiled: bool) -> None:
    index, words = hashed("ivf", 4096, batch=1, compiled=compiled), clusters(64, 64)
    index.load(words)
    before = int(alive(index).sum())
    for slots in torch.arange(3072).view(1, -1).split(48, 1):
        index.remove(slots)
    left = alive(index)
    assert int((lengths(index)[left] == 0).sum()) <= 4
    assert int(left.sum()) <= before / 2
    assert index.occupancy.tolist() == [1024]
    queries = near(words, 512)  # most of them where nothing is left
    index.search(queries, 8)
    assert recall(index, queries) >= LEAST


def test_all_words_are_removed_and_others_come() -> None:
    index, words = hashed("ivf", 2048, batch=1), clusters(32, 64)
    index.load(words)
    index.search(words[:, :4], 4)
    for _ in range(3):
        for slots in torch.arange(2048).view(1, -1).split(64, 1):
            index.remove(slots)
        assert index.search(words[:, :4], 4).slots.eq(-1).all()
        assert int(alive(index).sum()) >= 1
        for slots in torch.arange(2048).view(1, -1).split(64, 1):
            index.update(slots, words[:, slots[0]])
        assert rebuilds(index) == 1
        index.search(near(words, 512), 8)
        assert recall(index, near(words, 512)) >= LEAST
        assert lengths(index).max() <= 3 * SHORTEST + 64


@pytest.mark.parametrize("compiled", FORMS)
def test_three_memories_of_unequal_fill(compiled: bool) -> None:
    """Lists are added to all of them, and words stay in their memories."""
    words = clusters(60, 50, batch=3)
    index = hashed("ivf", 3000, batch=3, compiled=compiled)
    index.load(words[:, :260])
    index.search(words[:, :4], 8)
    index.reset(torch.tensor([False, False, True]))
    count, made, stops = len(lengths(index)[0]), rebuilds(index), (3000, 900, 40)
    for start in range(0, 3000, 36):
        slots = torch.arange(start, min(start + 36, 3000)).expand(3, -1).clone()
        for b, stop in enumerate(stops):
            slots[b][slots[b] >= stop] = -1
        index.update(slots, words[:, start : start + 36])
    assert index.occupancy.tolist() == list(stops)
    assert rebuilds(index) == made
    assert len(lengths(index)[0]) > count
    assert lengths(index).sum(1).tolist() == list(stops)
    for b, stop in enumerate(stops):
        assert lengths(index)[b].max() <= 3 * ideal(stop) + 36
    for _ in range(4):
        index.search(near(words, 512), 8)
    found, best = index.search(near(words, 512), 8), index.search_exact(near(words, 512), 8)
    shares = (found.slots.unsqueeze(3) == best.slots.unsqueeze(2)).any(3).float().mean((1, 2))
    assert shares.mean() >= LEAST and shares[2] == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compiled", FORMS)
def test_what_was_changed_in_inference_mode_is_changed_outside_of_it(
    kind: str, compiled: bool
) -> None:
    index, words = hashed(kind, 4096, batch=1, compiled=compiled), clusters(64, 32)
    for number, slots in enumerate(torch.arange(2048).view(1, -1).split(64, 1)):
        with torch.inference_mode(number % 3 == 0):
            index.update(slots, words[:, slots[0]])
            index.search(words[:, :3], 2)
            index.remove(slots[:, :5])
    with torch.inference_mode():
        index.load(words)
        index.search(words[:, :3], 2)
    index.update(torch.arange(64).view(1, -1), words[:, 64:128])
    index.reset(torch.tensor([True]))
    assert index.occupancy.tolist() == [0]


def test_a_list_length_that_was_asked_for_is_kept() -> None:
    index, words = hashed("ivf", 4096, batch=1, bucket_size=100), clusters(64, 64)
    index.load(words[:, :400])
    index.search(words[:, :4], 4)
    for start in range(400, 4096, 36):
        slots = torch.arange(start, min(start + 36, 4096)).view(1, -1)
        index.update(slots, words[:, slots[0]])
    used = lengths(index)[lengths(index) > 0]
    assert 50 <= used.double().mean() <= 200
    for start in range(0, 4096, 36):
        slots = torch.arange(start, min(start + 36, 4096)).view(1, -1)
        index.update(slots, words[:, slots[0]])
    assert lengths(index).max() <= 300


def test_without_a_schedule_lists_of_auto_live_too() -> None:
    index = hashed("auto", 4096, batch=1, exact_below=256)
    words = clusters(64, 64)
    for slots in torch.arange(4096).view(1, -1).split(36, 1):
        index.update(slots, words[:, slots[0]])
    assert isinstance(index, VectorIndex) and rebuilds(index) == 1
    assert lengths(index).max() <= 3 * ideal(4096) + 36


@pytest.mark.parametrize("compiled", FORMS)
def test_long_lists_are_divided_while_words_are_loaded(compiled: bool) -> None:
    """So that the first updates do not have to."""
    random = torch.Generator().manual_seed(0)
    words = torch.randn(1, 3000, 8, generator=random)
    words[:, :1500] = words[:, :1] + 0.01 * torch.randn(1, 1500, 8, generator=random)
    index = hashed("ivf", 3000, batch=1, width=8, compiled=compiled, metric="l2")
    index.load(words)
    index.search(words[:, :4], 4)
    lists = index._lists
    assert lists is not None
    assert int(lists.lengths.max()) <= 2 * SHORTEST
    assert int(lists.words_in()) == int(lists.lengths.sum()) == 3000
