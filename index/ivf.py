"""Inverted lists: each word is kept with the nearest of some centroids learned from the words."""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.hashed import HashedIndex
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import InvertedLists, ListArrays
from index.kmeans import half_squares, kmeans, masked_mean
from index.list_groups import FROM, LEARN_FROM, WORD_GROUPS, Groups, in_two_levels
from index.list_upkeep import LISTS, SHORTEST, Upkeep
from index.metric import Metric
from index.topk import argmax

_ITERATIONS = 6
_SAMPLE = 32  # words per centroid


class Lists(Hash):
    """List of the nearest centroid: argmax_i (x - m).(c_i - m) - |c_i - m|^2 / 2.

    m is the mean of the words that were learned from: far from the origin the terms would cancel
    otherwise. Under dot a query has no nearest centroid; it looks where q.c_i is highest.

    Many lists are in groups, see `index.list_groups`: the compiled form looks for a word's list in
    the nearest of them only.
    """

    name = "ivf"
    exact_below = 256
    grows = True
    tables = 1

    def __init__(
        self,
        centroids: Tensor,
        alive: Tensor,
        center: Tensor,
        metric: Metric,
        length: int | None = None,
    ) -> None:
        self.center = center  # m, [B, 1, W]
        self.centroids = centroids.contiguous()  # c - m, [B, n, W]
        self.half = half_squares(centroids).masked_fill_(~alive.unsqueeze(1), -torch.inf)
        self._dot = metric == "dot"
        self._upkeep = Upkeep(length)
        self._groups: Groups | None = None
        self._regroup()

    @property
    def lists(self) -> int:  # type: ignore[override]
        return self.centroids.shape[1]

    scores = most_probes = lists  # type: ignore[assignment]

    @staticmethod
    def rule(slots: int) -> Rule:
        return Rule(
            tables=1, lists=max(1, min(LISTS * math.isqrt(slots), slots // SHORTEST)), probes=8
        )

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
        return cls(centroids, alive, center, inputs.metric, size.length)

    def word_scores(self, words: Tensor, memory: int | None = None) -> Tensor:
        """How near words [B, M, W] are to each centroid, [B, M, n]; highest for the nearest."""
        center, centroids, half = self._of(memory)
        return torch.baddbmm(half, words - center, centroids.transpose(1, 2))

    def query_scores(self, queries: Tensor, memory: int | None = None) -> Tensor:
        """In what order queries [B, Q, W] look into the lists, [B, Q, n]; -inf for no list."""
        center, centroids, half = self._of(memory)
        columns = centroids.transpose(1, 2)
        if self._dot:
            return torch.bmm(queries, columns).masked_fill_(half == -torch.inf, -torch.inf)
        return torch.baddbmm(half, queries - center, columns)

    def _of(self, memory: int | None) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.center, self.centroids, self.half
        if memory is None:
            return parts
        center, centroids, half = (part[memory : memory + 1] for part in parts)
        return center, centroids, half

    def choices(self, words: Tensor) -> Choices:
        return Choices(argmax(self.word_scores(words))[1].unsqueeze(2))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        best = self.query_scores(queries, memory).topk(count)
        return best.indices.masked_fill_(best.values == -torch.inf, -1).unsqueeze(2)

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.lists import nearest_in_groups, nearest_lists

        homes = np.empty((*words.shape[:2], 1), np.int64)
        if self._groups is None:
            nearest_lists(self.word_scores(words).numpy(), homes)
        else:
            moved, groups = words - self.center, self._groups
            near = groups.scores(moved).numpy()
            arrays = groups.arrays(), self.centroids.numpy(), self.half[:, 0].numpy()
            nearest_in_groups(moved.numpy(), near, WORD_GROUPS, *arrays, homes)
        return Choices(torch.from_numpy(homes))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.lists import choose_lists

        found = Probes.empty(queries, self.lists)
        choose_lists(self.query_scores(queries).numpy(), lists, budget, *found)
        return found

    def nearest(self, words: Tensor, memory: int) -> Tensor:
        """Lists of words [m, W] of a memory, int64 [m], all looked for in the same groups."""
        if self._groups is None:
            return argmax(self.word_scores(words.unsqueeze(0), memory)[0])[1]
        moved = words - self.center[memory]
        near = self._groups.scores(moved.unsqueeze(0), memory)[0]
        groups = near.topk(min(WORD_GROUPS, near.shape[1])).indices.unique()
        some = torch.isin(self._groups.of[memory], groups).nonzero()[:, 0]
        if len(some) == 0:
            return argmax(self.word_scores(words.unsqueeze(0), memory)[0])[1]
        scores = torch.addmm(self.half[memory, 0, some], moved, self.centroids[memory, some].T)
        return some[argmax(scores)[1]]

    def maintain(self, lists: InvertedLists, words: Tensor, written: int) -> None:
        self._upkeep.run(self, lists, words, written)
        self._regroup()

    def put_centroids(self, memory: int, numbers: Tensor, centroids: Tensor) -> None:
        """Gives lists of a memory, int64 [m], these centroids, c - m [m, W]."""
        self.centroids[memory, numbers] = centroids
        self.half[memory, 0, numbers] = centroids.square().sum(1) / -2
        if self._groups is not None:
            self._groups.place(memory, numbers, centroids)

    def give_up(self, memory: int, numbers: Tensor) -> None:
        """Takes lists of a memory, int64 [m], out of use."""
        self.half[memory, 0, numbers] = -torch.inf
        if self._groups is not None:
            for number in numbers.tolist():
                self._groups.take_out(memory, number)

    def add_lists(self, count: int) -> None:
        """Adds so many lists to each memory, which are not in use."""
        self.centroids = functional.pad(self.centroids, (0, 0, 0, count))
        self.half = functional.pad(self.half, (0, count), value=-torch.inf)
        if self._groups is not None:
            self._groups.add_lists(count)
        self._regroup()

    def _regroup(self) -> None:
        """Makes groups, if there are enough lists, and none that fit them."""
        fits = self._groups is not None and self._groups.changes <= self.lists
        if self.lists >= FROM and self.centroids.device.type == "cpu" and not fits:
            self._groups = Groups.over(self.centroids, self.half[:, 0] > -torch.inf)


class IVFIndex(HashedIndex):
    """Inverted lists around centroids found by k-means, which follow the words as they change.

    The most accurate of the pure torch backends where words lie in clusters, and the fastest up to
    some 10^5 words. The lists live: a long one is split, a short one dissolved, and one after
    another is visited again, its centroid moved to the mean of its words and these to the nearest
    centroid; see `index.list_upkeep`.

    Rule for n words in a memory: lists of sqrt(n) / 6 words, but at least 32. Below 256 slots in
    use every word is compared. Of a bulk of words the centroids are learned from at most 32 words
    each, in 6 iterations. With `buckets` lists have the length that so many lists would have in a
    full memory.

    Cost beside that of `HashedIndex`: an update of M words takes O(M sqrt(n) W) to find their
    lists, and about as much for visits; a query O(sqrt(n) W); learning O(n sqrt(n) W).
    """

    hash_type = Lists
    shared_options = HashedIndex.shared_options - {"tables"} | {"bucket_size"}
