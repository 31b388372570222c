"""Cells of a product of two codebooks, one for each half of a word (Babenko, Lempitsky 2012)."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from index.hashed import HashedIndex
from index.hashing import Choices, ExchangeInputs, ExchangeOutputs, Hash, LearnInputs, Rule, Size
from index.kmeans import half_squares, kmeans
from index.metric import Metric
from index.topk import argmax, select_words

_ITERATIONS = 4
_SAMPLE = 64  # words per entry of a codebook
_SPILL = 3  # entries of each half that a word may go to


class Cells(Hash):
    """The nearest entry of each half's codebook; cell (i, j) is bucket i n + j.

        |x - (c_i, d_j)|^2 = |x_1 - c_i|^2 + |x_2 - d_j|^2

    so n + n distances order n^2 cells.
    """

    name = "product"
    exact_below = 256

    def __init__(self, books: Tensor, probes: int, metric: Metric) -> None:
        self._columns = books.transpose(1, 2).contiguous()  # [2 B, W / 2, n]
        self._half = half_squares(books)
        self._dot = metric == "dot"
        self._query_bias = torch.zeros_like(self._half) if self._dot else self._half
        self._count = books.shape[1]
        self.scores = 2 * self._count
        self._probes = min(probes, self._count**2)

    @staticmethod
    def rule(slots: int) -> Rule:
        cells = 4 ** (((slots // 16).bit_length() - 1) // 2)
        return Rule(tables=1, buckets=cells, spare=3, probes=20)

    @staticmethod
    def possible(buckets: int) -> int:
        return math.ceil(buckets**0.5) ** 2

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * math.isqrt(size.buckets)

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Cells":
        real, entries = inputs.real.repeat_interleave(2, 0), math.isqrt(size.buckets)
        given = {"iterations": _ITERATIONS, "generator": inputs.generator}
        books = kmeans(split(inputs.sample), real, entries, **given)
        return cls(books, size.probes, inputs.metric)

    def choices(self, words: Tensor) -> Choices:
        scores = self._scores(words, self._half)
        best, nearest = argmax(scores)
        first = nearest[:, :, 0] * self._count + nearest[:, :, 1]

        def others(which: Tensor | None) -> Tensor:
            some = select_words(scores, which).unsqueeze(1)
            return self._cells(some, min(_SPILL, self._count), _SPILL**2)[:, :, 1:]

        lengths = split(words).square().sum(2).view(len(words), 2, -1).sum(1)
        return Choices(first.unsqueeze(2), others, lengths - 2 * best.sum(2))

    def probes(self, queries: Tensor) -> Tensor:
        scores = self._scores(queries, self._query_bias)
        return self._cells(scores, min(self._probes, self._count), self._probes).unsqueeze(2)

    def exchange(self, vectors: Tensor, inputs: ExchangeInputs) -> ExchangeOutputs:
        from index.kernels.cells import exchange_cells

        probes = inputs.empty_probes(1, self._probes)
        scores = torch.baddbmm(self._half, split(vectors), self._columns)
        if self._dot:
            scores[:, inputs.slots.shape[1] :] -= self._half
        spill, each = min(_SPILL, self._count), min(self._probes, self._count)
        put = exchange_cells(inputs, scores.numpy(), spill, each, probes)
        return ExchangeOutputs(*put, probes)

    def _scores(self, vectors: Tensor, bias: Tensor) -> Tensor:
        """How near each half is to each entry, [B, M, 2, n]."""
        halves = split(vectors)
        scores = torch.baddbmm(bias, halves, self._columns)
        return scores.view(len(vectors), 2, -1, self._count).transpose(1, 2)

    def _cells(self, scores: Tensor, each: int, count: int) -> Tensor:
        """The nearest cells made of the `each` nearest entries of both halves, [B, M, count]."""
        best, entries = scores.topk(each)
        sums = best[:, :, 0, :, None] + best[:, :, 1, None, :]
        cells = entries[:, :, 0, :, None] * self._count + entries[:, :, 1, None, :]
        chosen = sums.flatten(2).topk(min(count, each**2)).indices
        return cells.flatten(2).gather(2, chosen)


def split(vectors: Tensor) -> Tensor:
    """The two halves of vectors [B, M, W] as [2 B, M, ceil(W / 2)]; of one number, twice that."""
    if vectors.shape[2] == 1:
        vectors = vectors.expand(-1, -1, 2)
    elif vectors.shape[2] % 2:
        vectors = functional.pad(vectors, (0, 1))
    batch_size, count, width = vectors.shape
    halves = vectors.reshape(batch_size, count, 2, width // 2).transpose(1, 2)
    return halves.reshape(2 * batch_size, count, width // 2)


class ProductIndex(HashedIndex):
    """Cells of a product of two codebooks found by k-means: as many cells as lists, far cheaper.

    The backend for updates of very large memories: a word's cell takes sqrt(n) / 2 comparisons of
    half a word. Cells fill less evenly than the lists of `ivf`, so more are looked into, and more
    is missed.

    Rule for n slots in use, rounded up to a power of two: the largest square of a power of two up
    to n / 16 cells, places for 3 times the mean, 20 probes. Below 256 slots in use every word is
    compared. The codebooks are learned from at most 64 words an entry, in 4 iterations.
    """

    hash_type = Cells
    shared_options = HashedIndex.shared_options - {"tables"}
