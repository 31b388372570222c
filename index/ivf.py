"""Inverted lists: each word is kept with the nearest of some centroids learned from the words."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.centroids import Centroids
from index.contents import Contents
from index.hashed import HashedIndex
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import InvertedLists, ListArrays
from index.kmeans import kmeans, masked_mean
from index.list_glance import before_a_glance, glance_at
from index.list_groups import LEARN_FROM, WORD_GROUPS, in_two_levels
from index.list_upkeep import LISTS, SHORTEST, Upkeep
from index.metric import Metric
from index.neighbors import Neighbors
from index.recall_glances import GLANCED
from index.table_building import WORD_SCORES
from index.topk import argmax

_ITERATIONS = 6
_SAMPLE = 32  # words per centroid
_ALL = 2**62  # a budget of which every memory has fewer words


class Lists(Hash):
    """List of the nearest centroid: argmax_i (x - m).(c_i - m) - |c_i - m|^2 / 2.

    Under dot a query has no nearest centroid; it looks where q.c_i is highest. The compiled form
    looks for a word's list in the nearest groups of centroids only, if there are many; see
    `index.centroids`.
    """

    name = "ivf"
    exact_below = 256
    grows = True
    tables = 1

    def __init__(self, centroids: Centroids, metric: Metric, length: int | None = None) -> None:
        self.centroids = centroids
        self._dot = metric == "dot"
        self._upkeep = Upkeep(length)
        self._last: np.ndarray | None = None  # scores of some queries of the last search

    @property
    def lists(self) -> int:  # type: ignore[override]
        return self.centroids.lists

    scores = most_probes = lists  # type: ignore[assignment]

    @staticmethod
    def rule(slots: int) -> Rule:
        lists = min(LISTS * math.isqrt(slots), slots // SHORTEST)
        return Rule(tables=1, lists=max(1, lists))

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * size.lists

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Lists":
        center = masked_mean(inputs.sample, inputs.real)
        given = inputs.sample - center, inputs.real, size.lists
        options = {"iterations": _ITERATIONS, "generator": inputs.generator}
        in_groups = size.lists >= LEARN_FROM and center.device.type == "cpu"
        centroids, counts = (in_two_levels if in_groups else kmeans)(*given, **options)
        alive = counts > 0
        alive[:, 0] |= ~alive.any(1)  # a memory without a word has a list for the first one
        return cls(Centroids(centroids, alive, center), inputs.metric, size.length)

    def repeated(self, count: int) -> "Lists":
        own = self.centroids
        given = own.centroids.repeat(count, 1, 1), own.alive().repeat(count, 1)
        centroids = Centroids(*given, own.center.repeat(count, 1, 1))
        return Lists(centroids, "dot" if self._dot else "cosine", self._upkeep.length)

    def choices(self, words: Tensor) -> Choices:
        return Choices(argmax(self.centroids.word_scores(words))[1].unsqueeze(2))

    def query_scores(self, queries: Tensor, memory: int | None = None) -> Tensor:
        """In what order queries [B, Q, W] look into the lists, [B, Q, n]; -inf for no list."""
        centroids = self.centroids
        scores = centroids.products if self._dot else centroids.word_scores
        return scores(queries, memory)

    def list_scores(self, queries: Tensor, memory: int) -> Tensor:
        return self.query_scores(queries, memory)

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        best = self.query_scores(queries, memory).topk(count)
        return best.indices.masked_fill_(best.values == -torch.inf, -1).unsqueeze(2)

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.lanes import LaneRoom
        from index.kernels.lists import nearest_in_groups, nearest_lists

        homes, own = np.empty((*words.shape[:2], 1), np.int64), self.centroids
        if own.groups is None:
            scores = own.word_scores(words).numpy()
            nearest_lists(scores, LaneRoom.of(scores.dtype), homes)
        else:
            moved = words - own.center
            near = own.groups.scores(moved).numpy()
            room = LaneRoom.of(near.dtype), np.empty(own.lists, near.dtype)
            nearest_in_groups(moved.numpy(), near, WORD_GROUPS, own.arrays(), *room, homes)
        return Choices(torch.from_numpy(homes))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.lanes import LaneRoom
        from index.kernels.lists import choose_lists

        found = Probes.empty(queries, min(self.lists, budget))  # each has a word
        scores = self.query_scores(queries).numpy()
        order = np.empty(self.lists, np.int64)
        choose_lists(scores, lists.sizes, budget, LaneRoom.of(scores.dtype), order, *found)
        return found

    def put(
        self, lists: InvertedLists, kept: Tensor, slots: Tensor, words: Tensor
    ) -> Tensor | None:
        from index.kernels.lists import put_nearest

        given, arrays, done = (slots.numpy(), words.numpy()), self.centroids.arrays(), 0
        groups = arrays.group_centers.shape[1]
        rooms = self._rooms(((1, words.shape[2]), (1, groups), (1, self.lists)), words)
        while True:
            how: Any = WORD_GROUPS, arrays, lists.arrays(kept), *rooms, done
            done = int(put_nearest(*given, *how))
            if done == slots.numel():
                return None
            lists.make_room()

    def find(
        self, queries: Tensor, lists: ListArrays, budget: int, l2: bool, best: Neighbors
    ) -> tuple[int, int]:
        from index.kernels.code_loops import Room
        from index.kernels.lists import find_near

        count, width = queries.shape[1:]
        lanes, *rooms = self._rooms(((count, width), (count, self.lists)), queries)
        order, held = (
            np.empty((2, self.lists), np.int64),
            Room.of(lanes.lanes.dtype, width, best.slots.shape[2]),
        )
        how = self._dot, l2, budget, self.centroids.arrays(), lists
        scores = before_a_glance(rooms[1])
        found = best.scores.numpy(), best.slots.numpy()
        met, short = find_near(queries.numpy(), *how, lanes, order, (*rooms, held), found)
        self._last = scores[:GLANCED].copy()
        return int(met), int(short)

    def glanced(self, lists: InvertedLists, best: Neighbors) -> np.ndarray | None:
        return None if self._last is None else glance_at(lists, self._last, best.slots.numpy())

    def find_in_all(self, queries: Tensor, lists: ListArrays, l2: bool, best: Neighbors) -> None:
        self.find(queries, lists, _ALL, l2, best)  # no more is compiled for it

    @staticmethod
    def _rooms(sizes: tuple[tuple[int, int], ...], like: Tensor) -> Any:
        """Arrays that compiled loops use: those of lanes, and others of given sizes."""
        from index.kernels.lanes import LaneRoom

        dtype = like[:0].numpy().dtype
        return LaneRoom.of(dtype), *(np.empty(size, dtype) for size in sizes)

    def content(self) -> dict[str, Tensor]:
        own = self.centroids
        parts = {"centroids": own.centroids, "alive": own.alive(), "center": own.center}
        return parts | {"upkeep": torch.tensor(self._upkeep.progress(), dtype=torch.float64)}

    @classmethod
    def restored(cls, given: Contents, index: Any, tables: int, lists: int) -> "Lists":
        batch_size, width = index.batch_size, index.word_size
        shape = batch_size, lists, width
        centroids = given.finite("hash_centroids", shape, index.dtype).to(index.device)
        alive = given.tensor("hash_alive", (batch_size, lists), torch.bool).to(index.device)
        center = given.finite("hash_center", (batch_size, 1, width), index.dtype).to(index.device)
        progress = given.finite("hash_upkeep", (4,), torch.float64)
        if tables != 1 or not alive.any(1).all():
            raise given.refuse("hash_alive", "a list in each memory", "none")
        length = index.size(index._in_use).length
        hashed = cls(Centroids(centroids, alive, center), index.config.metric, length)
        hashed._upkeep.take_progress(progress.tolist())
        return hashed

    @property
    def scores_of_words(self) -> int:
        groups = self.centroids.groups  # the form in torch looks into all lists
        return self.lists if groups is None else max(WORD_SCORES, groups.centers.shape[1])

    def settle(self, lists: InvertedLists, words: Tensor, *, compiled: bool) -> None:
        self._upkeep.settle(self.centroids, lists, words, compiled=compiled)

    @property
    def until_upkeep(self) -> int:
        return self._upkeep.until_due

    def maintain(
        self, lists: InvertedLists, words: Tensor, written: int, *, compiled: bool
    ) -> None:
        self._upkeep.run(self.centroids, lists, words, written, compiled=compiled)


class IVFIndex(HashedIndex):
    """Inverted lists around centroids found by k-means, which follow the words as they change.

    The most accurate of the pure torch backends where words lie in clusters, and the fastest up to
    some 10^5 words. The lists live: a long one is split, a short one given up, and one after
    another is visited, its centroid moved to the mean of its words and these to the nearest
    centroid; see `index.list_upkeep`.

    Rule for n words in a memory: lists of sqrt(n) / 6 words, but at least 32. Of a bulk of words
    the centroids are learned from at most 32 words each, in 6 iterations. With `buckets` lists have
    the length that so many lists would have in a full memory.

    Cost beside that of `HashedIndex`: an update of M words takes O(M sqrt(n) W) to find their
    lists, and less than that for visits; a query O(sqrt(n) W); learning O(n sqrt(n) W).
    """

    hash_type = Lists
    shared_options = HashedIndex.shared_options - {"tables"} | {"bucket_size", "copies"}
