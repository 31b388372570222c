"""Glances at searches between looks: whether queries have become harder.

A look compares with more words than a search meets, so there are few. What a search has found tells
something too: how many of the words that it met it had to meet for that. Where queries are harder
than those of the looks, their neighbors lie in later lists, those that are still found as well as
those that are not. So a few queries of many searches are glanced at, and a look comes early once
what they found was needed so much later than what the looks have seen that chance does not explain
it. It decides; a glance changes nothing else.
"""

from typing import NamedTuple

import numpy as np

from index.table_parts import Parts

GLANCED, NEIGHBORS = 16, 4  # queries of a search, and of their neighbors
_EVERY = 2e7  # multiplications of searches for a glance, which takes some 100 us
# What is glanced at is the mean of about so many queries; and they say something once they are so
# many, and so many deviations away.
_RECENT, _LEAST, _DEVIATIONS = 48, 16, 3.0
_LEAST_VARIANCE = 0.02


class Usual(NamedTuple):
    """What looks have seen of the neighbors that searches find.

    Args:
        mean: logarithm of the words needed, the mean over the neighbors of a query and queries.
        variance: of it among queries.
        queries: how many.
    """

    mean: float
    variance: float
    queries: int

    @classmethod
    def of(cls, needed: np.ndarray, budget: float) -> "Usual | None":
        """Of what was needed [n, k], NaN for no neighbor; None where that is nothing."""
        logs = log_needed(needed, budget)
        logs = logs[~np.isnan(logs)]
        if len(logs) == 0:
            return None
        return cls(float(logs.mean()), max(_LEAST_VARIANCE, float(logs.var())), len(logs))


def log_needed(needed: np.ndarray, budget: float) -> np.ndarray:
    """The mean logarithm of what was needed of the neighbors within a budget.

    Args:
        needed: [n, k], NaN for no neighbor.

    Returns:
        [n], NaN where there is none within it.
    """
    within = needed <= budget
    counts = within.sum(1)
    sums = np.log2(np.where(within, needed, 1.0).clip(1.0)).sum(1)  # 0 where no word is left
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)


class Glances(Parts):
    """What was glanced at since the last look.

    Attributes:
        are_harder: whether queries have become harder.
    """

    def __init__(self) -> None:
        self._unseen = 0.0
        self.begin(0)

    def begin(self, k: int) -> None:
        """Begins anew, for so many neighbors."""
        self._k, self._mean, self._count, self.are_harder = k, 0.0, 0, False

    def due(self, cost: float) -> bool:
        """Counts a search, and says whether it is to be glanced at."""
        self._unseen += cost
        if self._unseen < _EVERY:
            return False
        self._unseen = 0.0
        return True

    def see(self, k: int, needed: np.ndarray, budget: float, usual: Usual) -> None:
        """Notes a glance at a search for k neighbors.

        Args:
            needed: words that had to be met for what some queries found, NaN for nothing, [m, k].
            budget: of the search.
            usual: what looks have seen.
        """
        if k != self._k:
            self.begin(k)
        for one in log_needed(needed, budget).tolist():
            if one == one:
                self._count += 1
                self._mean += (one - self._mean) / min(self._count, _RECENT)
        if self._count < _LEAST:
            return
        seen = min(self._count, 2 * _RECENT - 1)  # what a fading mean of `_RECENT` is worth
        error = (usual.variance * (1 / seen + 1 / usual.queries)) ** 0.5
        self.are_harder = self._mean - usual.mean > _DEVIATIONS * error
