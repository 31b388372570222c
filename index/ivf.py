"""Inverted lists: each word is kept with the nearest of some centroids learned from the words."""

import math

import torch
from torch import Tensor

from index.hashed import HashedIndex
from index.hashing import Choices, ExchangeInputs, ExchangeOutputs, Hash, LearnInputs, Rule, Size
from index.kmeans import half_squares, kmeans
from index.metric import Metric
from index.topk import argmax, select_words, topk

_ITERATIONS = 4
_SAMPLE = 24  # words per centroid
_SPILL = 4  # lists that a word may go to


class Lists(Hash):
    """List of the nearest centroid, for a query lists of the P nearest: argmax_i x.c_i - |c_i|^2/2.

    Under dot a query has no nearest centroid; it looks where q.c_i is highest.
    """

    name = "ivf"
    exact_below = 256

    def __init__(self, centroids: Tensor, probes: int, metric: Metric) -> None:
        self._columns = centroids.transpose(1, 2).contiguous()
        self._half = half_squares(centroids)
        self._dot = metric == "dot"
        self._query_half = torch.zeros_like(self._half) if self._dot else self._half
        self.scores = centroids.shape[1]
        self._probes = min(probes, self.scores)

    @staticmethod
    def rule(slots: int) -> Rule:
        lists = min(4 * math.isqrt(slots), slots // 32)
        return Rule(tables=1, buckets=lists, spare=1.75, probes=4)

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * size.buckets

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Lists":
        given = {"iterations": _ITERATIONS, "generator": inputs.generator}
        centroids = kmeans(inputs.sample, inputs.real, size.buckets, **given)
        return cls(centroids, size.probes, inputs.metric)

    def choices(self, words: Tensor) -> Choices:
        scores = torch.baddbmm(self._half, words, self._columns)
        best, first = argmax(scores)

        def others(which: Tensor | None) -> Tensor:
            some = select_words(scores, which).unsqueeze(1)
            return topk(some, min(_SPILL, some.shape[2]))[:, :, 1:]

        return Choices(first.unsqueeze(2), others, words.square().sum(2) - 2 * best)

    def probes(self, queries: Tensor) -> Tensor:
        scores = torch.baddbmm(self._query_half, queries, self._columns)
        return topk(scores, self._probes).unsqueeze(2)

    def exchange(self, vectors: Tensor, inputs: ExchangeInputs) -> ExchangeOutputs:
        from index.kernels.lists import exchange_lists

        probes = inputs.empty_probes(1, self._probes)
        scores = torch.baddbmm(self._half, vectors, self._columns)
        if self._dot:
            scores[:, inputs.slots.shape[1] :] -= self._half
        put = exchange_lists(inputs, scores.numpy(), min(_SPILL, self.scores), probes)
        return ExchangeOutputs(*put, probes)


class IVFIndex(HashedIndex):
    """Inverted lists around centroids found by k-means, learned anew when the words have drifted.

    The most accurate of the pure torch backends where words lie in clusters, and up to some 10^4
    words the fastest.

    Rule for n slots in use, rounded up to a power of two: 4 sqrt(n) lists but at most n / 32,
    places for 1.75 times the mean, 4 probes. Below 256 slots in use every word is compared. The
    centroids are learned from at most 24 words each, in 4 iterations.

    Cost beside that of `HashedIndex`: an update of M words takes O(M sqrt(n) W) to find their
    lists, a query O(sqrt(n) W); learning O(n sqrt(n) W).
    """

    hash_type = Lists
    shared_options = HashedIndex.shared_options - {"tables"}
