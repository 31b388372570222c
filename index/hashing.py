"""What tells a bucket table where a word belongs and where a query should look."""

from abc import ABC, abstractmethod
from typing import NamedTuple

import numpy as np
from torch import Tensor

from index.buckets import Others, Tables
from index.columns import DEPTH, best_of_columns
from index.table_parts import Parts


class Choices(NamedTuple):
    """Where words belong."""

    first: Tensor  # int64 [B, M, L]
    others: Others | None = None
    error: Tensor | None = None  # how badly each fits what was learned, [B, M]


class Asked(NamedTuple):
    """What `Hash.exchange` and its compiled twins are given."""

    slots: np.ndarray  # int64 [B, M], each at most once in a row; -1 is skipped
    vectors: np.ndarray  # M words and then Q queries, [B, M + Q, W]
    tables: Tables  # see `Buckets.arrays`
    l2: bool  # whether a score is minus the squared distance, and not an inner product
    best: np.ndarray  # where the scores of the k best go, [B, Q, k]
    found: np.ndarray  # and their slots


class Exchanged(NamedTuple):
    """What became of the words and queries that a compiled twin was given."""

    error: float  # how badly all words together fit what was learned
    count: int  # how many words there were
    lost: int  # how many of them found no place in any table
    probes: np.ndarray  # the buckets that the queries looked into, int64 [B, Q, L, P]


class Hash(Parts, ABC):
    """Maps words to buckets of L tables, and queries to the buckets to look into.

    Words and queries are divided by their norms where the metric is the cosine.
    """

    spills = True
    """Whether a word that finds its bucket full may go to others."""
    learned = True
    """Whether it was made to fit words, so that others may fit it worse."""
    scores: int
    """Numbers computed for each word."""

    @abstractmethod
    def choices(self, words: Tensor) -> Choices:
        """Buckets for words [B, M, W]."""

    @abstractmethod
    def probes(self, queries: Tensor) -> Tensor:
        """Buckets that queries [B, Q, W] look into, best first, int64 [B, Q, L, P]."""

    @abstractmethod
    def exchange(self, vectors: Tensor, asked: Asked) -> Exchanged:
        """Moves M words to their buckets and answers Q queries, by a compiled twin, on the CPU.

        Args:
            vectors: the array of the same name, as a tensor.
            asked: what to move and to find.
        """


def blank_probes(asked: Asked, tables: int, probes: int) -> np.ndarray:
    """Room for the buckets [B, Q, L, P] of the queries of `Hash.exchange`."""
    return np.empty((*asked.found.shape[:2], tables, probes), np.int64)


# From this many scores on, the maximum of each column of a square is taken first.
_SQUARE_FROM = 256


def argmax(scores: Tensor) -> tuple[Tensor, Tensor]:
    """Highest value and its position in the last dimension, several times faster than `max`."""
    width = scores.shape[-1]
    if width < _SQUARE_FROM or width % DEPTH:
        best = scores.max(-1)
        return best.values, best.indices
    square = scores.unflatten(-1, (DEPTH, -1))
    column = square.amax(-2).argmax(-1, keepdim=True)
    within = square.gather(-1, column.unsqueeze(-2).expand(*square.shape[:-1], 1)).squeeze(-1)
    best = within.max(-1)
    return best.values, best.indices * (width // DEPTH) + column.squeeze(-1)


def take(scores: Tensor, which: Tensor | None) -> Tensor:
    """Scores [B, M, ...] of the words at some of the B M positions, or of all: [n, ...]."""
    scores = scores.flatten(0, 1)
    return scores if which is None else scores.index_select(0, which)


def highest(scores: Tensor, k: int) -> Tensor:
    """Positions of the k highest of [B, Q, n], best first, [B, Q, k]."""
    width = scores.shape[-1]
    if width < _SQUARE_FROM or width % DEPTH or k * DEPTH > width:
        return scores.topk(k).indices
    return best_of_columns(scores, k)[1]
