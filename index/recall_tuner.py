"""Keeps the recall of searches at a target, by looking now and then at what was missed.

A look notes, for each neighbor of a few queries of the present call, how many words a search has to
meet, list after list, before it comes to that neighbor's list. The noted numbers give the whole
curve of recall against words met, so that one step finds how many words to meet for any target: the
quantile of what was needed.

There are two kinds of looks. One compares the queries with all words. That takes long, so mostly a
look goes less far: the search meets some times as many words as it has to, and what it finds is
taken for the true neighbors. What lies still further away it does not see; how much less recall
there is for that, looks at all words tell, which do both for the same queries.

What was noted is about the past. Where the number of words changes, all of it is brought along. And
a look first tells how much the searches just before it have found: what that falls short by is
asked for in addition, little by little. Between looks searches are glanced at, and if queries have
become harder a look comes early (`index.recall_glances`).
"""

import copy
import math
from typing import Self

import numpy as np
import torch
from torch import Tensor

from index.config import IndexConfig
from index.recall_costs import FAR_QUERIES, FIRST_QUERIES, QUERIES, TOLD_BY, Due, LookCosts
from index.recall_glances import Glances, Usual
from index.recall_known import Known
from index.table_parts import Parts

DEFAULT = 0.9  # the target where the config says neither recall nor probes
_MOST_COST = 2.0**26  # multiplications of the first look, if that is 8 queries or more
_ENOUGH = 64  # queries seen before looks become rare
_KEPT = 256  # queries remembered
_KEPT_IF_BEHIND = 48  # of those before a look, while looks find less than they should
_HALF_LIFE = 96  # queries after which a look counts half
_LEAST_FAR = 256  # words that a search meets, at least, while a look does not compare all
# Looks may cost so much of the cost of searches and updates, in multiplications: more while they
# find less than they should, and far more after one that found much less, until the budget fits;
# but all of them, those of the beginning aside, no more than `_MOST_SHARE`.
_SHARE, _SHARE_IF_BEHIND, _SHARE_IF_SURPRISED = 1 / 40, 1 / 8, 1 / 3
_SHARE_OF_ALL, _SHARE_OF_ALL_IF_SURPRISED = 1 / 80, 1 / 24  # beside it, comparing with all words
_MOST_SHARE = 1 / 24
_REPLACED = 1 / 8  # of all words: when these were written, words may be others, and a look is due
_BEHIND, _FADING = 0.01, 0.4  # how much less on the mean; what is left of that after a look
_OWN = 3  # neighbors of a query that count as if they were seen one by one
# Of what the target allows to miss, not to be missed; more where nobody has stated a target: then
# 128 queries in a row hardly ever find less. That takes as many deviations of what they find, and
# of what looks have seen of it, within bounds; the higher one holds while words are getting others.
_AHEAD, _AHEAD_UNSTATED, _MOST_AHEAD = 0.05, 0.5, 0.65
_IN_A_ROW, _DEVIATIONS = 128, 2.5
_SIZES = 8  # different k remembered
# How much of the words has to be met grows less than in step with them. Measured where regions of
# word vectors and images come and go: between the powers .5 and 1.
GROWTH = 0.75
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
        self._is_stated = target is not None
        self._wary = False
        self._needed: dict[int, Tensor] = {}  # by k, newest first, [queries, k] on the CPU
        self._budgets: dict[int, int] = {}
        self._seen: dict[int, Known] = {}
        self._words = 0  # when what was needed was brought along
        # Cost of searches since a look, and since one at all words; words written since a look.
        self._since, self._since_all, self._written = 0.0, 0.0, 0.0
        self._spent, self._looked, self._begun = 0.0, 0.0, 0.0  # all of them; the first looks
        self._surprises, self._behind = 0, 0.0  # looks that found less, and how much on the mean
        self._share, self._share_of_all = _SHARE, _SHARE_OF_ALL
        self._first = 0  # k of a first look that has begun
        self.glances = Glances()
        self._usual: tuple[int, int, int, Usual | None] | None = None  # of k, a look and a budget
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
        self._target, self._is_stated = target, True
        self._budgets.clear()
        self._seen.clear()

    def is_sure(self, k: int) -> bool:
        """Whether looks for so many neighbors have become rare."""
        return k in self._needed and len(self._needed[k]) >= _ENOUGH

    def knows(self, k: int) -> bool:
        """Whether a look for so many neighbors was recorded."""
        return k in self._needed

    def looks_so_far(self) -> dict[int, Tensor]:
        """What looks have seen, by k, newest first, [queries, k]."""
        return dict(self._needed)

    def progress(self) -> list[list[float]]:
        """Beside `looks_so_far`: k and what is known of it; first 0 and the number of words."""
        about = [[float(k), *seen] for k, seen in self._seen.items()]
        return [[0.0, float(self._words), 0.0, 0.0, 0.0, 0.0], *about]

    def take_looks(self, looks: dict[int, Tensor], progress: list[list[float]]) -> None:
        """Takes what another tuner returned, instead of its own, brought into its bounds."""
        self.forget()
        self._needed = {k: needed[:_KEPT] for k, needed in list(looks.items())[:_SIZES]}
        for k, *numbers in progress:
            if k == 0:
                self._words = max(0, int(numbers[0]))
            elif k in self._needed:
                self._seen[int(k)] = Known(*numbers).bounded(_MOST_MORE * (1 - self._target))

    def forget(self) -> None:
        """Forgets all looks: the words are others."""
        self._needed.clear()
        self._budgets.clear()
        self._seen.clear()
        self._surprises, self._behind, self._words, self._wary = 0, 0.0, 0, False

    def resize(self, words: int) -> None:
        """Says how many words there are, so that what was needed among others is brought along.

        Without it what is needed is taken not to depend on that.
        """
        if abs(words - self._words) <= _ALIKE * self._words:
            return
        if self._words:
            times = (words / self._words) ** GROWTH
            self._needed = {k: needed * times for k, needed in self._needed.items()}
            self._budgets.clear()
        self._words = words

    def due(self, k: int, cost: float, looks: LookCosts) -> Due | None:
        """Which look is due at a search, mostly none.

        Args:
            k: of the search.
            cost: of the search, in multiplications.
            looks: what looks would cost.
        """
        self.count(cost)
        if not self.knows(k):
            return Due(0, min(FIRST_QUERIES, max(QUERIES, int(_MOST_COST / looks.of_all))))
        is_due = self.until_look(looks) <= 0 or self.words_until_look <= 0
        if not is_due and self.is_sure(k):
            return None
        if not math.isfinite(looks.far):
            return Due(0, QUERIES)
        tells = TOLD_BY * looks.of_all <= self._share_of_all * self._since_all
        return Due(FAR_QUERIES, TOLD_BY if tells else 0)

    def until_look(self, looks: LookCosts) -> float:
        """What searches and updates may cost until the next look, once looks are rare."""
        cost = looks.far if math.isfinite(looks.far) else QUERIES * looks.of_all
        early = self.glances.are_harder and not self._is_spent
        return cost / max(self._share, _SHARE_IF_BEHIND if early else 0) - self._since

    def glance(self, k: int, needed: np.ndarray) -> None:
        """Notes what a search had to meet for what some of its queries found.

        Args:
            k: of the search.
            needed: words, NaN for nothing, [m, k].
        """
        budget = self.budget(k)
        if self._usual is None or self._usual[:3] != (k, self.looks, budget):
            self._usual = k, self.looks, budget, Usual.of(self._needed[k].numpy(), budget)
        usual = self._usual[3]
        if usual is not None:
            self.glances.see(k, needed, budget, usual)

    @property
    def _is_spent(self) -> bool:
        """Whether looks have cost as much as they may."""
        return self._looked - self._begun > _MOST_SHARE * self._spent

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
        self._since_all += cost
        self._spent += cost
        self._written += written

    def far(self, k: int) -> int:
        """How many words a search meets while a look does not compare all."""
        return max(_LEAST_FAR, int(self._about(k).far * self.budget(k)))

    def begin(self, k: int, needed: Tensor) -> None:
        """Takes the first look for k neighbors, before it is recorded: there is a budget then."""
        self._first = k
        self._hold(k, needed.to("cpu", torch.float64))

    def record(
        self, k: int, needed: Tensor, cost: float, told: tuple[Tensor, Tensor] | None = None
    ) -> None:
        """Notes a look.

        Args:
            k: how many neighbors were asked for.
            needed: words to be met for each neighbor, inf if no list leads to it, NaN where there
                is no further word, [queries, k].
            cost: of the look, in multiplications.
            told: of some queries the same, of the neighbors found among fewer words, as those in
                `needed` were, and of their true neighbors; one tensor if the former are these.
        """
        self.looks += 1
        self._looked += cost
        self._since, self._written = 0.0, 0.0
        needed = needed.to("cpu", torch.float64)
        before = self._needed.get(k) if self._first != k else None  # it was of the same queries
        self._first = 0
        if before is None or len(before) < _ENOUGH:
            self._begun += cost
        if told is not None:
            self._since_all = 0.0
            self._compare(k, *told)
        if before is not None:
            before = self._judge(k, needed, before)
            needed = torch.cat((needed, before))[:_KEPT]
        self._hold(k, needed)
        self.glances.begin(k)
        self._share, self._share_of_all = self._shares()

    def _hold(self, k: int, needed: Tensor) -> None:
        self._needed.pop(k, None)
        while len(self._needed) >= _SIZES:
            oldest = next(iter(self._needed))
            del self._needed[oldest]
            self._seen.pop(oldest, None)
        self._needed[k] = needed
        self._budgets.pop(k, None)

    def _about(self, k: int) -> Known:
        return self._seen.get(k) or Known()

    def _compare(self, k: int, needed: Tensor, by_all: Tensor) -> None:
        """Notes how much more was missed than a look has seen, and whether it went far enough."""
        if needed is by_all and not self._about(k).known:
            return
        budget, missed = self.budget(k), 1 - self._goal
        shares = (1 - _share_below(part, budget) for part in (by_all, needed))
        self._seen[k] = self._about(k).compared(*shares, queries=len(needed), usual=missed)
        self._budgets.pop(k, None)

    def _judge(self, k: int, needed: Tensor, before: Tensor) -> Tensor:
        """Takes note of what searches have found just now; what still counts of looks before."""
        about, known = self._about(k), bool((~needed.isnan()).any())
        missed = about.times * (1 - _share_below(needed, self.budget(k)))
        reached = max(0.0, 1 - missed) if known else 1.0
        more = self._more_after(about.more, reached, len(needed)) if known else 0.0
        self._seen[k] = about._replace(more=more)
        self._behind = _FADING * self._behind + (1 - _FADING) * (self._goal - reached)
        surprised = reached < self._target - 0.1
        self._surprises = self._surprises + 1 if surprised else 0
        # What was seen long ago no longer holds.
        if surprised and self.glances.are_harder:
            before = before[: len(needed) // 4]
        elif self._surprises >= 2:
            before = before[: max(len(needed), len(before) // 2)]
        elif self._behind > _BEHIND or self._wary:
            before = before[:_KEPT_IF_BEHIND]
        return before

    def _shares(self) -> tuple[float, float]:
        """What looks, and those at all words, may cost until the next one."""
        if self._is_spent:
            return _SHARE, _SHARE_OF_ALL
        if self._surprises:
            return _SHARE_IF_SURPRISED, _SHARE_OF_ALL_IF_SURPRISED
        often = self._behind > _BEHIND or self._wary
        return _SHARE_IF_BEHIND if often else _SHARE, _SHARE_OF_ALL

    def budget(self, k: int) -> int:
        """How many words a search for k neighbors has to meet; k before the first look."""
        if k not in self._needed:
            return k
        if k not in self._budgets:
            values, weights = self._weighted(k)
            if len(values) == 0:
                return k
            about, reached = self._about(k), weights.cumsum() / weights.sum()

            def needed_for(aim: float) -> float:
                seen = 1 - (1 - aim - about.more) / about.times
                at = int((reached < seen - 1e-9).sum())
                return float(values[min(at, len(values) - 1)])

            value = needed_for(self._goal)
            value = needed_for(self._goal + self._unsure(k, value))
            met = 2**62 if value == math.inf else math.ceil(value - 1e-9 * value)
            self._budgets[k] = max(k, met)
        return self._budgets[k]

    def _unsure(self, k: int, value: float) -> float:
        """What to aim at beyond the goal, where so many words are met for that."""
        needed, missed = self._needed[k].numpy(), 1 - self._target
        if self._is_stated:  # half a standard error, so that few looks do not promise too much
            return 0.5 * (self._target * missed / (min(_OWN, k) * len(needed))) ** 0.5
        most = (_MOST_AHEAD - _AHEAD_UNSTATED) * missed
        if self._wary:
            return most
        known, weights = ~np.isnan(needed), 0.5 ** (np.arange(len(needed)) / _HALF_LIFE)
        held = known.any(1)
        found = (needed <= value)[held].sum(1) / known[held].sum(1)
        weights = weights[held] / weights[held].sum()
        variance = float(weights @ (found - weights @ found) ** 2)
        error = (variance * (1 / _IN_A_ROW + float(weights @ weights))) ** 0.5
        return min(max(_DEVIATIONS * error - _AHEAD_UNSTATED * missed, 0.0), most)

    def expect(self, others: bool) -> None:
        """Says whether the words that come are others than those that were there."""
        if self._wary != others:
            self._wary = others
            self._budgets.clear()
            self._share, self._share_of_all = self._shares()

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
        about = self._about(k)
        return max(0.0, 1 - about.times * (1 - reached) - about.more)

    @property
    def spent(self) -> float:
        """What searches and updates took so far, in multiplications."""
        return self._spent

    @property
    def watched(self) -> float:
        return self._looked / max(self._spent + self._looked, 1.0)

    @property
    def _goal(self) -> float:
        ahead = _AHEAD if self._is_stated else _AHEAD_UNSTATED
        return self._target + ahead * (1 - self._target)

    def _more_after(self, more: float, reached: float, queries: int) -> float:
        """What to ask for in addition, after so many queries that reached so much."""
        change = _GAIN * (self._goal - reached) * min(1.0, queries / QUERIES)
        return min(max(more + change, 0.0), _MOST_MORE * (1 - self._target))

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


def _share_below(needed: Tensor, budget: int) -> float:
    """How many of what was needed, those that are not NaN, a budget covers; 1 if all are."""
    known = needed.numpy()
    known = known[~np.isnan(known)]
    return float((known <= budget).mean()) if len(known) else 1.0
