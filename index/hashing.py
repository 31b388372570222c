"""The hash of an index with buckets: where a word belongs, and where a query looks."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from index.buckets import Others, Tables
from index.metric import Metric
from index.table_parts import Parts


class Rule(NamedTuple):
    """What a hash takes where the config says nothing."""

    tables: int
    buckets: int
    spare: float  # places for each word there would be in a bucket on the mean
    probes: int


class Size(NamedTuple):
    """How many tables, buckets and places for words there are, and where a query looks."""

    tables: int
    buckets: int  # of a table, for one memory
    bucket_size: int  # places of a bucket
    probes: int  # buckets of a table that a query looks into


class Choices(NamedTuple):
    """Where words belong."""

    first: Tensor  # int64 [B, M, L]
    others: Others | None = None
    error: Tensor | None = None  # how badly each fits what was learned, [B, M]


class LearnInputs(NamedTuple):
    """What a hash is learned from."""

    metric: Metric
    sample: Tensor  # some words in random order, [B, S, W]
    real: Tensor  # false for what is no word in the sample, bool [B, S]
    words: Tensor  # all that are in use, zeros where there is none, [B, n, W]
    generator: torch.Generator  # on the CPU


class ExchangeInputs(NamedTuple):
    """The arguments of `Hash.exchange` and of its compiled loops."""

    slots: np.ndarray  # int64 [B, M], each at most once in a row; -1 is skipped
    vectors: np.ndarray  # M words and then Q queries, [B, M + Q, W]
    tables: Tables  # see `Buckets.arrays`
    l2: bool  # whether a score is minus the squared distance, and not an inner product
    best: np.ndarray  # where the scores of the k best go, [B, Q, k]
    found: np.ndarray  # and their slots

    def empty_probes(self, tables: int, probes: int) -> np.ndarray:
        """Room for the buckets [B, Q, L, P] that the queries look into."""
        return np.empty((*self.found.shape[:2], tables, probes), np.int64)


class ExchangeOutputs(NamedTuple):
    """What `Hash.exchange` did with the words and queries."""

    error: float  # how badly all words together fit what was learned
    num_words: int
    lost: int  # how many of them found no place in any table
    probes: np.ndarray  # the buckets that the queries looked into, int64 [B, Q, L, P]


class Hash(Parts, ABC):
    """Maps words to buckets of L tables, and queries to the buckets to look into.

    What differs between the indexes with buckets is here: the sizes of the tables, how the hash is
    learned from words, and what it computes. Words and queries are divided by their norms where the
    metric is the cosine.
    """

    name: ClassVar[str]
    """What `searching` says while tables are in use."""
    exact_below: ClassVar[int]
    """With fewer slots in use every word is compared, unless the config says otherwise."""
    spills: ClassVar[bool] = True
    """Whether a word that finds its bucket full may go to others."""
    learned: ClassVar[bool] = True
    """Whether it was made to fit words, so that others may fit it worse."""
    scores: int
    """Numbers computed for each word."""

    @staticmethod
    @abstractmethod
    def rule(slots: int) -> Rule:
        """The sizes for a power of two of slots in use."""

    @staticmethod
    def possible(buckets: int) -> int:
        """The smallest number of buckets, at least `buckets`, that the hash can tell apart."""
        return buckets

    @staticmethod
    @abstractmethod
    def sample_size(size: Size, metric: Metric) -> int:
        """How many words of each memory `learn` needs."""

    @classmethod
    @abstractmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Hash":
        """A hash for tables of this size and words like those given."""

    @abstractmethod
    def choices(self, words: Tensor) -> Choices:
        """Buckets for words [B, M, W]."""

    @abstractmethod
    def probes(self, queries: Tensor) -> Tensor:
        """Buckets that queries [B, Q, W] look into, best first, int64 [B, Q, L, P]."""

    @abstractmethod
    def exchange(self, vectors: Tensor, inputs: ExchangeInputs) -> ExchangeOutputs:
        """Moves M words to their buckets and answers Q queries, in compiled loops on the CPU.

        Args:
            vectors: the array of the same name, as a tensor.
            inputs: what to move and to find.
        """
