"""The hash of an index with lists: where a word belongs, and where a query looks."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from index.contents import Contents
from index.inverted_lists import InvertedLists, ListArrays
from index.metric import Metric
from index.neighbors import Neighbors
from index.table_parts import Parts


class Rule(NamedTuple):
    """What a hash takes where the config says nothing."""

    tables: int
    lists: int


class Size(NamedTuple):
    """How many tables and lists there are."""

    tables: int
    lists: int  # of a table, for one memory
    length: int | None = None  # words that a list should have, where the config says it


class Choices(NamedTuple):
    """Where words belong."""

    lists: Tensor  # 0 .. n - 1, int64 [B, M, L]
    error: Tensor | None = None  # how badly each fits what was learned, [B, M]


class LearnInputs(NamedTuple):
    """What a hash is learned from."""

    metric: Metric
    sample: Tensor  # some words in random order, [B, S, W]
    real: Tensor  # false for what is no word in the sample, bool [B, S]
    words: Callable[[], Iterable[Tensor]]  # all in use, zeros where there is none, [B, n, W] each
    generator: torch.Generator  # on the CPU


class Probes(NamedTuple):
    """The lists that queries look into, as arrays."""

    lists: np.ndarray  # numbered through, int64 [B, Q, C]
    counts: np.ndarray  # how many of the C, int64 [B, Q]; -1 for all lists of the memory

    @classmethod
    def empty(cls, queries: Tensor, most: int) -> "Probes":
        """Room for `most` lists of each of the queries [B, Q, W]."""
        shape = queries.shape[:2]
        return cls(np.empty((*shape, most), np.int64), np.empty(shape, np.int64))


class Hash(Parts, ABC):
    """Maps words to lists of L tables, and queries to an order in which to look into lists.

    What differs between the indexes with lists is here: the sizes of the tables, how the hash is
    learned from words, and what it computes. Words and queries are divided by their norms where the
    metric is the cosine.
    """

    name: ClassVar[str]
    """What `searching` says while tables are in use."""
    exact_below: ClassVar[int]
    """With given probes and fewer slots in use every word is compared, unless the config has it."""
    grows: ClassVar[bool] = False
    """Whether `maintain` adapts it to more words, so that tables are not rebuilt for them."""
    word_cost: ClassVar[float] = 1.0
    """What comparing with a word in a list costs, times what it does in lists of `ivf`."""
    tables: int
    """L."""
    lists: int
    """n, lists of a table."""
    scores: int
    """Numbers computed for each word."""
    most_probes: int
    """Lists of a table that can be put in order for a query."""

    @staticmethod
    @abstractmethod
    def rule(slots: int) -> Rule:
        """The sizes for a power of two of slots in use."""

    @staticmethod
    def possible(lists: int) -> int:
        """The smallest number of lists, at least `lists`, that the hash can tell apart."""
        return lists

    @staticmethod
    @abstractmethod
    def sample_size(size: Size, metric: Metric) -> int:
        """How many words of each memory `learn` needs."""

    @classmethod
    @abstractmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "Hash":
        """A hash for tables of this size and words like those given."""

    @abstractmethod
    def repeated(self, count: int) -> "Hash":
        """The same for so many memories, of one that is for a single memory."""

    @abstractmethod
    def choices(self, words: Tensor) -> Choices:
        """Lists for words [B, M, W]."""

    @abstractmethod
    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        """Lists to look into, best first.

        Args:
            queries: [B, Q, W].
            count: P, at most `most_probes`.
            memory: with it B is 1, and the queries are of this memory.

        Returns:
            Of each table, 0 .. n - 1, int64 [B, Q, L, P]; -1 for no list.
        """

    def list_scores(self, queries: Tensor, memory: int) -> Tensor | None:
        """Where `probes` go by a score of each list: these, [1, Q, n], -inf for no list."""
        return None

    @abstractmethod
    def assigned(self, words: Tensor) -> Choices:
        """`choices` in compiled form."""

    @abstractmethod
    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        """The first lists of `probes` that together have `budget` words, in compiled form."""

    def put(
        self, lists: InvertedLists, kept: Tensor, slots: Tensor, words: Tensor
    ) -> Tensor | None:
        """Puts words into the lists chosen for them, in compiled form.

        Args:
            lists: changed.
            kept: of all memories, by row.
            slots: of the words, each at most once in a row, -1 for none, int64 [B, M].
            words: [B, M, W].

        Returns:
            The error of `Choices`.
        """
        from index.kernels.list_moves import put_words

        choices = self.assigned(words)
        given, done = (slots.numpy(), choices.lists.numpy()), 0
        while (done := put_words(*given, lists.arrays(kept), done)) < slots.numel():
            lists.make_room()
        return choices.error

    def find(
        self, queries: Tensor, lists: ListArrays, budget: int, l2: bool, best: Neighbors
    ) -> tuple[int, int]:
        """Finds the best of the first words that queries meet, in compiled form.

        Args:
            queries: [B, Q, W].
            lists: to look into.
            budget: how many words a query has to meet.
            l2: whether that is the metric.
            best: filled in, [B, Q, k].

        Returns:
            How many words were compared, and how many queries found fewer than there are.
        """
        chosen = self.chosen(queries, lists, budget)
        return self._best_in(queries, chosen, lists, l2, best)

    def glanced(self, lists: InvertedLists, best: Neighbors) -> np.ndarray | None:
        """How many words the last `find` had to meet for what some of its queries have found.

        Args:
            lists: in which it was; best: what it filled in.

        Returns:
            NaN for nothing, [m, k]; None where that is not known.
        """
        return None

    def find_in_all(self, queries: Tensor, lists: ListArrays, l2: bool, best: Neighbors) -> None:
        """Finds the best of all words in lists, in compiled form; arguments as of `find`.

        The hash is not asked, so the lists may be those of one of its memories.
        """
        every = Probes.empty(queries, 0)
        every.counts.fill(-1)
        self._best_in(queries, every, lists, l2, best)

    def _best_in(
        self, queries: Tensor, chosen: Probes, lists: ListArrays, l2: bool, best: Neighbors
    ) -> tuple[int, int]:
        from index.kernels.code_loops import Room
        from index.kernels.list_loops import look_into

        given, found = queries.numpy(), (best.scores.numpy(), best.slots.numpy())
        room = Room.of(given.dtype, given.shape[2], best.slots.shape[2])
        met, short = look_into(given, *chosen, self.tables, lists, l2, room, *found)
        return int(met), int(short)

    @property
    def scores_of_words(self) -> int:
        """Numbers held for each word whose list is looked for, together with others."""
        return self.scores

    def settle(self, lists: InvertedLists, words: Tensor, *, compiled: bool) -> None:
        """Adapts lists that were just filled with many words; arguments as of `maintain`."""

    @property
    def until_upkeep(self) -> int:
        """How many words may be written before `maintain` does something."""
        return 2**62

    @abstractmethod
    def content(self) -> dict[str, Tensor]:
        """What `restored` needs, in tensors, names without dots."""

    @classmethod
    @abstractmethod
    def restored(cls, given: Contents, index: Any, tables: int, lists: int) -> "Hash":
        """A hash with the content of a file, below names that begin with "hash_".

        Args:
            given: the parts, which may be anything.
            index: the `HashedIndex` that it is for.
            tables: L; lists: n.

        Raises:
            FileFormatError: a part is not as it should be.
        """

    def maintain(
        self, lists: InvertedLists, words: Tensor, written: int, *, compiled: bool
    ) -> None:
        """Adapts lists and hash to words that were written or removed since.

        Args:
            lists: changed.
            words: what is kept of all memories, by row.
            written: how many, of all memories together.
            compiled: whether in compiled form.
        """
