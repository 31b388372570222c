"""Cells of a product of two codebooks, one for each half of a word (Babenko, Lempitsky 2012)."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.contents import Contents
from index.hashed import HashedIndex
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import ListArrays
from index.kmeans import half_squares, kmeans, masked_mean
from index.metric import Metric
from index.topk import argmax

_ITERATIONS = 6
_SAMPLE = 64  # words per entry of a codebook


class Cells(Hash):
    """The nearest entry of each half's codebook; cell (i, j) is list i n + j.

        |x - (c_i, d_j)|^2 = |x_1 - c_i|^2 + |x_2 - d_j|^2

    so n + n distances order n^2 cells. All is computed around the mean of the words that were
    learned from: far from the origin the terms would cancel otherwise.
    """

    name = "product"
    word_cost = 1.5
    exact_below = 256
    tables = 1

    def __init__(self, books: Tensor, center: Tensor, metric: Metric) -> None:
        self._center = center  # [B, 1, W]
        self._columns = books.transpose(1, 2).contiguous()  # [2 B, W / 2, n]
        self._half = half_squares(books)
        self._dot = metric == "dot"
        self._count = books.shape[1]
        self.scores = 2 * self._count
        self.lists = self.most_probes = self._count**2

    @staticmethod
    def rule(slots: int) -> Rule:
        return Rule(tables=1, lists=4 ** (((slots // 16).bit_length() - 1) // 2))

    @staticmethod
    def possible(lists: int) -> int:
        return math.ceil(lists**0.5) ** 2

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * math.isqrt(size.lists)

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Cells":
        center = masked_mean(inputs.sample, inputs.real)
        real, entries = inputs.real.repeat_interleave(2, 0), math.isqrt(size.lists)
        given = {"iterations": _ITERATIONS, "generator": inputs.generator}
        books, _ = kmeans(split(inputs.sample - center), real, entries, **given)
        return cls(books, center, inputs.metric)

    def repeated(self, count: int) -> "Cells":
        books = self._columns.transpose(1, 2).repeat(count, 1, 1)
        return Cells(books, self._center.repeat(count, 1, 1), "dot" if self._dot else "cosine")

    def choices(self, words: Tensor) -> Choices:
        halves = split(words - self._center)
        best, nearest = argmax(self._by_word(torch.baddbmm(self._half, halves, self._columns)))
        lists = nearest[:, :, 0] * self._count + nearest[:, :, 1]
        return Choices(lists.unsqueeze(2), _error(halves, best.sum(2)))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        scores = self._by_word(self._query_scores(queries, memory))
        each = min(count, self._count)  # a cell among the best is of the best entries
        best, entries = scores.topk(each)
        sums = best[:, :, 0, :, None] + best[:, :, 1, None, :]
        cells = entries[:, :, 0, :, None] * self._count + entries[:, :, 1, None, :]
        chosen = sums.flatten(2).topk(min(count, each**2)).indices
        return cells.flatten(2).gather(2, chosen).unsqueeze(2)

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.cells import nearest_cells

        homes, halves = np.empty((*words.shape[:2], 1), np.int64), split(words - self._center)
        best = nearest_cells(torch.baddbmm(self._half, halves, self._columns).numpy(), homes)
        return Choices(torch.from_numpy(homes), _error(halves, torch.from_numpy(best)))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.cells import choose_cells
        from index.kernels.lanes import LaneRoom

        found = Probes.empty(queries, min(self.lists, budget))  # each has a word
        scores = self._query_scores(queries).numpy()
        choose_cells(scores, lists.sizes, budget, LaneRoom.of(scores.dtype), *found)
        return found

    def content(self) -> dict[str, Tensor]:
        return {"books": self._columns.transpose(1, 2).contiguous(), "center": self._center}

    @classmethod
    def restored(cls, given: Contents, index: Any, tables: int, lists: int) -> "Cells":
        batch_size, width, entries = index.batch_size, index.word_size, math.isqrt(lists)
        shape = 2 * batch_size, entries, (width + 1) // 2
        books = given.finite("hash_books", shape, index.dtype).to(index.device)
        center = given.finite("hash_center", (batch_size, 1, width), index.dtype).to(index.device)
        if tables != 1 or entries**2 != lists or not entries:
            raise given.refuse("layout", "a square number of cells in one table", lists)
        return cls(books, center, index.config.metric)

    def _query_scores(self, queries: Tensor, memory: int | None = None) -> Tensor:
        """How near each half of queries is to each entry, [2 B, Q, n]."""
        center, columns, half = self._center, self._columns, self._half
        if memory is not None:
            pair = slice(2 * memory, 2 * memory + 2)
            center, columns, half = center[memory : memory + 1], columns[pair], half[pair]
        if self._dot:
            return torch.bmm(split(queries), columns)
        return torch.baddbmm(half, split(queries - center), columns)

    def _by_word(self, scores: Tensor) -> Tensor:
        """Scores of halves [2 B, M, n] as [B, M, 2, n]."""
        return scores.view(-1, 2, *scores.shape[1:]).transpose(1, 2)


def _error(halves: Tensor, best: Tensor) -> Tensor:
    """Squared distances [B, M] of words from their cells, of which `best` are the scores."""
    return halves.square().sum(2).view(-1, 2, halves.shape[1]).sum(1) - 2 * best


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
    to n / 16 cells. The codebooks are learned from at most 64 words an entry, in 6 iterations.
    """

    hash_type = Cells
    shared_options = HashedIndex.shared_options - {"tables"} | {"copies"}
