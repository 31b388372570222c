"""Looks at the recall of an index: what would have been needed to find what is there."""

import math
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from index.neighbors import Neighbors
from index.recall_costs import Due, LookCosts
from index.recall_tuner import RecallTuner
from index.stored import StoredIndex

Needed = Callable[[int, Tensor, Tensor], Tensor]
"""Takes a memory, queries [1, Q, W] and the slots [Q, k] of their true neighbors. Returns how many
words (lists, or whatever a budget counts) a search has to meet before it finds each, [Q, k]."""
Best = Callable[[int, Tensor, int], tuple[Tensor, Tensor]]
"""Takes a memory, queries [1, Q, W] and k. Returns scores and slots of the true k best of all words
of that memory, [1, Q, k]; -inf and -1 where there are fewer."""


class Look:
    """A look at one search: some of its queries, of one memory or a few by turns.

    Args:
        tuner: takes what was seen.
        queries: of the search, checked and scaled, [B, Q, W].
        k: at most the slots in use.
        due: at how many queries.
        needed: what a search would have needed.
        memories: that are looked at.

    Attributes:
        words: how many words the search shall meet; None if no more than it must.
    """

    words: int | None = None

    def __init__(
        self,
        tuner: RecallTuner,
        queries: Tensor,
        k: int,
        due: Due,
        needed: Needed,
        memories: list[int],
    ) -> None:
        self._tuner, self._queries, self._k, self._needed = tuner, queries, k, needed
        self._memories = memories
        self._far, self._by_all = self._some(due.far), self._some(due.by_all)
        self._true: Tensor | None = None  # what the true neighbors of those in `_by_all` need
        self._cost = 0.0

    @classmethod
    def of(
        cls,
        index: StoredIndex,
        tuner: RecallTuner,
        queries: Tensor,
        k: int,
        *,
        cost: float,
        costs: Callable[[], LookCosts],
        best: Best,
        needed: Needed,
        memories: Callable[[], list[int]] | None = None,
    ) -> Self | None:
        """A look, if it is time.

        Args:
            index: with words in use.
            tuner, queries, k, needed: as of the class.
            cost: of this search, in multiplications.
            costs: says what looks cost, by what the tuner knows.
            best: compares with all words.
            memories: says which are looked at; all that hold a word without it.

        Cost: now and then O(n W) for a query; see `index.recall_tuner`.
        """
        due = tuner.due(k, cost, costs())
        if due is None:
            return None
        some = memories() if memories else index._occupancy().nonzero()[:, 0].tolist()
        if not some:
            return None
        look = cls(tuner, queries, k, due, needed, some)
        if due.by_all:
            look._compare(best, costs().of_all)
        about = costs()
        if math.isfinite(about.farther):
            look.words, look._far = tuner.far(k), look._far or look._by_all
            look._cost += about.farther + _count(look._far) * about.each
        return look

    def record(self, found: Neighbors | None = None) -> None:
        """Tells the tuner what was seen.

        Args:
            found: by the search, which has met `words`, if that is a number, [B, Q, k].
        """
        if self.words is None or found is None:
            assert self._true is not None
            self._tuner.record(self._k, self._true, self._cost, (self._true, self._true))
            return
        told = None
        if self._true is not None:
            told = self._seen_in(found, self._by_all), self._true
        self._tuner.record(self._k, self._seen_in(found, self._far), self._cost, told)

    def record_true(self, found: Neighbors, each: float) -> None:
        """The same after a search that has compared all words.

        Args:
            found: by it, [B, Q, k].
            each: cost of finding out what was needed for a query.
        """
        if self._true is None:
            self._true, self._cost = self._seen_in(found, self._far), _count(self._far) * each
        self.words = None
        self.record()

    def _some(self, wanted: int) -> list[tuple[int, Tensor]]:
        """Memories by turns, and of each another part of its queries; so many, or a few more."""
        memories, count, looks = self._memories, self._queries.shape[1], self._tuner.looks
        turns = min(len(memories), -(-wanted // count))
        some = torch.arange(min(wanted, count), device=self._queries.device)
        some = (some * count // max(1, len(some)) + looks).remainder(count)
        return [(memories[(turns * looks + turn) % len(memories)], some) for turn in range(turns)]

    def _compare(self, best: Best, of_all: float) -> None:
        """Compares queries with all words."""
        seen = []
        for memory, some in self._by_all:
            scores, slots = best(memory, self._queries[memory, some].unsqueeze(0), self._k)
            seen.append(self._needed_by(memory, some, slots[0], scores[0] == -torch.inf))
        self._true = torch.cat(seen)
        self._cost += _count(self._by_all) * of_all
        if not self._tuner.knows(self._k):
            self._tuner.begin(self._k, self._true)

    def _seen_in(self, found: Neighbors, parts: list[tuple[int, Tensor]]) -> Tensor:
        slots = [found.slots[part] for part in parts]
        some = zip(parts, slots, strict=True)
        return torch.cat([self._needed_by(*part, mine, mine < 0) for part, mine in some])

    def _needed_by(self, memory: int, some: Tensor, slots: Tensor, none: Tensor) -> Tensor:
        part = self._queries[memory, some].unsqueeze(0)
        needed = self._needed(memory, part, slots).to("cpu", torch.float64)
        return needed.masked_fill(none.cpu(), torch.nan)


def _count(parts: list[tuple[int, Tensor]]) -> int:
    """How many queries these are."""
    return sum(len(some) for _, some in parts)
