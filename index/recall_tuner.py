"""Keeps the recall of searches at a target, by looking now and then at what was missed.

A look compares a few queries of the present call with all words. For each true neighbor it notes
how many words a search has to meet, list after list, before it comes to that neighbor's list. The
noted numbers give the whole curve of recall against words met, so that one step finds how many
words to meet for any target: the quantile of what was needed.

What was noted is about the past. Where the number of words changes, all of it is brought along. And
a look first tells how much the searches just before it have found: what that falls short by is
asked for in addition, little by little.
"""

import copy
import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

from index.config import IndexConfig
from index.table_parts import Parts

DEFAULT = 0.9  # the target where the config says neither recall nor probes
QUERIES = 8  # of a look
FIRST_QUERIES = 32  # of each look while few queries were seen
_MOST_COST = 2.0**28  # multiplications of one of the first looks, if that is 8 queries or more
_ENOUGH = 128  # queries seen before looks become rare
_KEPT = 192  # queries remembered
_HALF_LIFE = 48  # queries after which a look counts half
# Looks may cost so much of the cost of searches and updates, in multiplications: more while they
# find less than they should, and far more after one that found much less, until the budget fits.
_SHARE, _SHARE_IF_BEHIND, _SHARE_IF_SURPRISED = 1 / 36, 1 / 8, 1 / 3
_REPLACED = 1 / 8  # of all words: when these were written, words may be others, and a look is due
_BEHIND, _FADING = 0.01, 0.4  # how much less on the mean; what is left of that after a look
_OWN = 3  # neighbors of a query that count as if they were seen one by one
# Of what the target allows to miss, not to be missed; more where nobody has stated a target: then
# 128 queries in a row hardly ever find less.
_AHEAD, _AHEAD_UNSTATED = 0.05, 0.4
_SIZES = 8  # different k remembered
# How much of the words has to be met grows less than in step with them. Measured where regions of
# word vectors and images come and go: between the powers .5 and 1.
_GROWTH = 0.75
_ALIKE = 1 / 32  # change of the number of words that makes no difference
# Of what a look shows to be missing so much is asked for in addition, and never more than this of
# what the target allows to miss.
_GAIN, _MOST_MORE = 0.15, 0.5


class RecallTuner(Parts):
    """How many words a search for k neighbors has to meet for a recall.

    Args:
        target: the recall@k that searches shall have on the mean, in (0, 1]; `DEFAULT` without one.

    Attributes:
        looks: how many looks there were.
        watched: what they cost, as a share of all searches, in multiplications.
    """

    def __init__(self, target: float | None = None) -> None:
        self._target = target or DEFAULT
        self._ahead = _AHEAD if target else _AHEAD_UNSTATED
        self._needed: dict[int, Tensor] = {}  # by k, newest first, [queries, k] on the CPU
        self._budgets: dict[int, int] = {}
        self._more: dict[int, float] = {}  # by k, recall to ask for beyond the target
        self._words = 0  # when what was needed was brought along
        self._since, self._written = 0.0, 0  # cost of searches, and words written, since a look
        self._spent, self._looked = 0.0, 0.0  # all of them
        self._surprises, self._behind = 0, 0.0  # looks that found less, and how much on the mean
        self.looks = 0

    @classmethod
    def of(cls, config: IndexConfig) -> Self | None:
        """The tuner of an approximate index; none with a given number of probes."""
        return cls(config.recall) if config.probes is None else None

    @property
    def target(self) -> float:
        return self._target

    @target.setter
    def target(self, target: float) -> None:
        self._target, self._ahead = target, _AHEAD
        self._budgets.clear()
        self._more.clear()

    def is_sure(self, k: int) -> bool:
        """Whether looks for so many neighbors have become rare."""
        return k in self._needed and len(self._needed[k]) >= _ENOUGH

    def knows(self, k: int) -> bool:
        """Whether a look for so many neighbors was recorded."""
        return k in self._needed

    def looks_so_far(self) -> dict[int, Tensor]:
        """What looks have seen, by k, newest first, [queries, k]."""
        return dict(self._needed)

    def progress(self) -> dict[int, float]:
        """Beside `looks_so_far`: by k what is asked for in addition; at 0 the number of words."""
        return {0: float(self._words)} | self._more

    def take_looks(self, looks: dict[int, Tensor], progress: dict[int, float]) -> None:
        """Takes what another tuner returned, instead of its own, brought into its bounds."""
        self.forget()
        self._needed = {k: needed[:_KEPT] for k, needed in list(looks.items())[:_SIZES]}
        most = _MOST_MORE * (1 - self._target)
        self._more = {k: min(max(progress.get(k, 0.0), 0.0), most) for k in self._needed}
        self._words = max(0, int(progress.get(0, 0.0)))

    def forget(self) -> None:
        """Forgets all looks: the words are others."""
        self._needed.clear()
        self._budgets.clear()
        self._more.clear()
        self._surprises, self._behind, self._words = 0, 0.0, 0

    def resize(self, words: int) -> None:
        """Says how many words there are, so that what was needed among others is brought along.

        Without it what is needed is taken not to depend on that.
        """
        if abs(words - self._words) <= _ALIKE * self._words:
            return
        if self._words:
            times = (words / self._words) ** _GROWTH
            self._needed = {k: needed * times for k, needed in self._needed.items()}
            self._budgets.clear()
        self._words = words

    def due(self, k: int, cost: float, of_a_look: float) -> int:
        """How many queries to look at before a search, mostly 0.

        Args:
            k: of the search.
            cost: of the search, in multiplications.
            of_a_look: the cost of looking at one query.
        """
        self.count(cost)
        seen = len(self._needed[k]) if k in self._needed else 0
        if seen < _ENOUGH:
            return min(FIRST_QUERIES, max(QUERIES, int(_MOST_COST / of_a_look)))
        is_due = self.until_look(of_a_look) <= 0 or self.words_until_look <= 0
        return QUERIES if is_due else 0

    def until_look(self, of_a_look: float) -> float:
        """What searches and updates may cost until the next look, once looks are rare."""
        share = _SHARE_IF_BEHIND if self._behind > _BEHIND else _SHARE
        share = _SHARE_IF_SURPRISED if self._surprises else share
        return QUERIES * of_a_look / share - self._since

    @property
    def words_until_look(self) -> float:
        """How many words of a memory may be written until the next look, whatever it costs."""
        return _REPLACED * self._words - self._written if self._words else math.inf

    def count(self, cost: float, written: float = 0) -> None:
        """Counts the cost of updates, in multiplications, with that of searches.

        Args:
            cost: of both.
            written: words of each memory.
        """
        self._since += cost
        self._spent += cost
        self._written += written

    def record(self, k: int, needed: Tensor, cost: float) -> None:
        """Notes a look.

        Args:
            k: how many neighbors were asked for.
            needed: words to be met for each neighbor, inf if no list leads to it, NaN where there
                is no further word, [queries, k].
            cost: of the look, in multiplications.
        """
        self.looks += 1
        self._looked += cost
        self._since, self._written = 0.0, 0
        needed = needed.to("cpu", torch.float64)
        before = self._needed.get(k)
        if before is not None:
            known = needed.numpy()
            known = known[~np.isnan(known)]
            reached = float((known <= self.budget(k)).mean()) if len(known) else 1.0
            self._more[k] = self._more_after(k, reached, len(needed)) if len(known) else 0.0
            short = self._goal - reached
            self._behind = _FADING * self._behind + (1 - _FADING) * short
            surprised = reached < self._target - 0.1
            self._surprises = self._surprises + 1 if surprised else 0
            if self._surprises >= 2:  # what was seen long ago no longer holds
                before = before[: max(len(needed), len(before) // 2)]
            needed = torch.cat((needed, before))[:_KEPT]
            del self._needed[k]
        while len(self._needed) >= _SIZES:
            del self._needed[next(iter(self._needed))]
        self._needed[k] = needed
        self._budgets.pop(k, None)

    def budget(self, k: int) -> int:
        """How many words a search for k neighbors has to meet; k before the first look."""
        if k not in self._needed:
            return k
        if k not in self._budgets:
            values, weights = self._weighted(k)
            # Half a standard error more, so that few looks do not promise too much.
            seen, missed = min(_OWN, k) * len(self._needed[k]), 1 - self._target
            aim = self._goal + self._more.get(k, 0.0) + 0.5 * (self._target * missed / seen) ** 0.5
            if len(values) == 0:
                return k
            reached = weights.cumsum() / weights.sum()
            at = min(int((reached < aim - 1e-9).sum()), len(values) - 1)
            value = float(values[at])
            met = 2**62 if value == math.inf else math.ceil(value - 1e-9 * value)
            self._budgets[k] = max(k, met)
        return self._budgets[k]

    def estimate(self, k: int | None = None) -> float | None:
        """The recall of searches by the looks so far, less what they promised too much; or None.

        Args:
            k: of the searches; that of the last look unless told.
        """
        if not self._needed:
            return None
        k = next(reversed(self._needed)) if k is None else k
        values, weights = self._weighted(k)
        if len(values) == 0:
            return None
        reached = float((weights * (values <= self.budget(k))).sum() / weights.sum())
        return max(0.0, reached - self._more.get(k, 0.0))

    @property
    def spent(self) -> float:
        """What searches and updates took so far, in multiplications."""
        return self._spent

    @property
    def watched(self) -> float:
        return self._looked / max(self._spent + self._looked, 1.0)

    @property
    def _goal(self) -> float:
        return self._target + self._ahead * (1 - self._target)

    def _more_after(self, k: int, reached: float, queries: int) -> float:
        """What to ask for in addition, after so many queries that reached so much."""
        change = _GAIN * (self._goal - reached) * min(1.0, queries / QUERIES)
        more = max(self._more.get(k, 0.0) + change, 0.0)
        return min(more, _MOST_MORE * (1 - self._target))

    def _weighted(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        """What was needed, ascending, and how much each counts."""
        needed = self._needed[k].numpy()
        weights = np.repeat(0.5 ** (np.arange(len(needed)) / _HALF_LIFE), needed.shape[1])
        values = needed.ravel()
        known = ~np.isnan(values)
        values, weights = values[known], weights[known]
        order = values.argsort(kind="stable")
        return values[order], weights[order]

    def copied(self, device: torch.device) -> Self:
        return copy.deepcopy(self)

    @property
    def nbytes(self) -> int:
        return sum(needed.nbytes for needed in self._needed.values())
