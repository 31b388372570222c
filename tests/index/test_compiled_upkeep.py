"""The compiled upkeep of lists does what the plain one does, list by list."""

from typing import Any

import pytest
import torch
from torch import Tensor

from index import HashedIndex, IndexConfig, make_index
from index.ivf import Lists
from index.list_work import spread_order
from tests.index.test_list_upkeep import clusters

pytest.importorskip("numba")


class Pair:
    """Two indexes, plain and compiled, that are told the same."""

    def __init__(self, capacity: int, *, batch: int = 1, width: int = 8, **options: Any) -> None:
        sizes: Any = {"batch_size": batch, "capacity": capacity, "word_size": width}
        self.both: list[HashedIndex] = []
        for compiled in (False, True):
            config = IndexConfig(kind="ivf", exact_below=0, compiled=compiled, **options)
            index = make_index(config, dtype=torch.float64, **sizes)
            assert isinstance(index, HashedIndex)
            self.both.append(index)

    def update(self, slots: Tensor, words: Tensor) -> None:
        for index in self.both:
            index.update(slots, words)
        self.compare()

    def remove(self, slots: Tensor) -> None:
        for index in self.both:
            index.remove(slots)
        self.compare()

    def load(self, words: Tensor) -> None:
        for index in self.both:
            index.load(words)
            index.search(words[:, :1], 1)

    def compare(self) -> None:
        plain, compiled = (_parts(index) for index in self.both)
        for name, part in plain.items():
            torch.testing.assert_close(compiled[name], part, atol=1e-12, rtol=0, msg=name)


def _parts(index: HashedIndex) -> dict[str, Tensor]:
    lists, hash_ = index._lists, index._hash
    assert lists is not None and isinstance(hash_, Lists)
    centroids = hash_.centroids
    alive = centroids.alive()
    return {
        "lists": lists._list_of,
        "lengths": lists.lengths,
        "alive": alive,
        "centroids": centroids.centroids * alive.unsqueeze(2),
        "half": centroids.half[:, 0].masked_fill(~alive, 0.0),
        "progress": torch.tensor(hash_._upkeep.progress(), dtype=torch.float64),
    }


def test_growth_and_removal_of_clusters() -> None:
    words = clusters(40, 50, width=8).double()
    pair = Pair(2000)
    pair.load(words[:, :300])
    for start in range(300, 2000, 37):
        slots = torch.arange(start, min(start + 37, 2000)).view(1, -1)
        pair.update(slots, words[:, slots[0]])
    for slots in torch.arange(1500).view(1, -1).split(48, 1):
        pair.remove(slots)


def test_memories_of_unequal_fill_and_drift() -> None:
    words = clusters(30, 40, batch=3, width=8).double()
    pair = Pair(1200, batch=3)
    pair.load(words[:, :280])
    for start in range(0, 1200, 36):
        slots = torch.arange(start, min(start + 36, 1200)).expand(3, -1).clone()
        slots[1][slots[1] >= 700] = -1
        pair.update(slots, words[:, start : start + 36])
    moved = words.flip(1) * 2 + 1
    for start in range(0, 1200, 36):
        slots = torch.arange(start, min(start + 36, 1200)).expand(3, -1)
        pair.update(slots, moved[:, start : start + 36])


@pytest.mark.parametrize("options", [{"copies": False}, {"metric": "l2"}, {"bucket_size": 40}])
def test_options(options: dict[str, Any]) -> None:
    words = clusters(20, 50, width=8).double()
    pair = Pair(1000, **options)
    pair.load(words[:, :260])
    for start in range(260, 1000, 31):
        slots = torch.arange(start, min(start + 31, 1000)).view(1, -1)
        pair.update(slots, words[:, slots[0]])


def test_equal_words() -> None:
    pair = Pair(1500, metric="l2")
    words = torch.ones(1, 1500, 8, dtype=torch.float64)
    words[:, ::7] = 2
    pair.load(words[:, :300])
    for start in range(300, 1500, 31):
        slots = torch.arange(start, min(start + 31, 1500)).view(1, -1)
        pair.update(slots, words[:, slots[0]])


@pytest.mark.parametrize("count", [1, 2, 3, 8, 64, 97, 100, 640])
def test_spread_order_takes_each_once(count: int) -> None:
    assert spread_order(count, count).sort().values.tolist() == list(range(count))
    assert len(spread_order(count, 5)) == min(count, 5)


def test_groups_of_lists_stay_whole() -> None:
    """Of many lists each is in one group while it is in use, and each word in one of them."""
    words = clusters(64, 48, width=8)
    config = IndexConfig(kind="ivf", exact_below=0, bucket_size=4)
    index = make_index(config, batch_size=1, capacity=3072, word_size=8)
    assert isinstance(index, HashedIndex)
    index.load(words[:, :2100])
    index.search(words[:, :1], 1)
    for start in range(2100, 3072, 36):
        slots = torch.arange(start, min(start + 36, 3072)).view(1, -1)
        index.update(slots, words[:, slots[0]])
        if start % 8 == 0:
            index.remove(slots - 2000)
    lists, hash_ = index._lists, index._hash
    assert lists is not None and isinstance(hash_, Lists)
    groups, alive = hash_.centroids.groups, hash_.centroids.alive()[0]
    assert groups is not None and groups.changes > 0
    assert torch.equal(groups.of[0] >= 0, alive)
    members = [groups.members[0, g, :size].tolist() for g, size in enumerate(groups.sizes[0])]
    for group, some in enumerate(members):
        assert (groups.of[0, some] == group).all()
    assert sorted(one for some in members for one in some) == alive.nonzero()[:, 0].tolist()
    homes = lists._list_of[lists._list_of >= 0]
    assert alive[homes.long()].all() and len(homes) == int(index.occupancy)
