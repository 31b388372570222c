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
from index.list_upkeep import Upkeep
from index.metric import Metric
from index.topk import argmax

_ITERATIONS = 6
_SAMPLE = 32  # words per centroid


class Lists(Hash):
    """List of the nearest centroid: argmax_i (x - m).(c_i - m) - |c_i - m|^2 / 2.

    m is the mean of the words that were learned from: far from the origin the terms would cancel
    otherwise. Under dot a query has no nearest centroid; it looks where q.c_i is highest.
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
        self.columns = centroids.transpose(1, 2).contiguous()  # c - m, [B, W, n]
        self.half = half_squares(centroids).masked_fill_(~alive.unsqueeze(1), -torch.inf)
        self._dot = metric == "dot"
        self._upkeep = Upkeep(length)

    @property
    def lists(self) -> int:  # type: ignore[override]
        return self.columns.shape[2]

    scores = most_probes = lists  # type: ignore[assignment]

    @staticmethod
    def rule(slots: int) -> Rule:
        return Rule(tables=1, lists=max(1, min(4 * math.isqrt(slots), slots // 32)), probes=8)

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * size.lists

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Lists":
        center = masked_mean(inputs.sample, inputs.real)
        given = {"iterations": _ITERATIONS, "generator": inputs.generator}
        centroids, counts = kmeans(inputs.sample - center, inputs.real, size.lists, **given)
        alive = counts > 0
        alive[:, 0] |= ~alive.any(1)  # a memory without a word has a list for the first one
        return cls(centroids, alive, center, inputs.metric, size.length)

    def word_scores(self, words: Tensor, memory: int | None = None) -> Tensor:
        """How near words [B, M, W] are to each centroid, [B, M, n]; highest for the nearest."""
        center, columns, half = self._of(memory)
        return torch.baddbmm(half, words - center, columns)

    def query_scores(self, queries: Tensor, memory: int | None = None) -> Tensor:
        """In what order queries [B, Q, W] look into the lists, [B, Q, n]; -inf for no list."""
        center, columns, half = self._of(memory)
        if self._dot:
            return torch.bmm(queries, columns).masked_fill_(half == -torch.inf, -torch.inf)
        return torch.baddbmm(half, queries - center, columns)

    def _of(self, memory: int | None) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.center, self.columns, self.half
        if memory is None:
            return parts
        center, columns, half = (part[memory : memory + 1] for part in parts)
        return center, columns, half

    def choices(self, words: Tensor) -> Choices:
        return Choices(argmax(self.word_scores(words))[1].unsqueeze(2))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        best = self.query_scores(queries, memory).topk(count)
        return best.indices.masked_fill_(best.values == -torch.inf, -1).unsqueeze(2)

    def assigned(self, words: Tensor) -> tuple[np.ndarray, Tensor | None]:
        from index.kernels.lists import nearest_lists

        homes = np.empty((*words.shape[:2], 1), np.int64)
        nearest_lists(self.word_scores(words).numpy(), homes)
        return homes, None

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.lists import choose_lists

        found = Probes.empty(queries, self.lists)
        choose_lists(self.query_scores(queries).numpy(), lists, budget, *found)
        return found

    def maintain(self, lists: InvertedLists, words: Tensor, written: int) -> None:
        self._upkeep.run(self, lists, words, written)

    def put_centroids(self, memory: int, numbers: Tensor, centroids: Tensor) -> None:
        """Gives lists of a memory, int64 [m], these centroids, c - m [m, W]."""
        self.columns[memory, :, numbers] = centroids.T
        self.half[memory, 0, numbers] = centroids.square().sum(1) / -2

    def add_lists(self, count: int) -> None:
        """Adds so many lists to each memory, which are not in use."""
        self.columns = functional.pad(self.columns, (0, count))
        self.half = functional.pad(self.half, (0, count), value=-torch.inf)


class IVFIndex(HashedIndex):
    """Inverted lists around centroids found by k-means, which follow the words as they change.

    The most accurate of the pure torch backends where words lie in clusters, and the fastest up to
    some 10^5 words. The lists live: a long one is split, a short one dissolved, and one after
    another is visited again, its centroid moved to the mean of its words and these to the nearest
    centroid; see `index.list_upkeep`.

    Rule for n words in a memory: lists of sqrt(n) / 4 words, but at least 32. Below 256 slots in
    use every word is compared. Of a bulk of words the centroids are learned from at most 32 words
    each, in 6 iterations. With `buckets` lists have the length that so many lists would have in a
    full memory.

    Cost beside that of `HashedIndex`: an update of M words takes O(M sqrt(n) W) to find their
    lists, and about as much for visits; a query O(sqrt(n) W); learning O(n sqrt(n) W).
    """

    hash_type = Lists
    shared_options = HashedIndex.shared_options - {"tables"} | {"bucket_size"}
