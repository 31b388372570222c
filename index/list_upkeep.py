"""Keeps the lists of `ivf` fit for the words in them, a few lists at a time.

For four words written up to one is looked at again, and fewer while few of them move. A list that
is twice as long as it should be is divided by k-means among its words; one with less than a sixth
of that is given up, and its words go to the next centroids; else one list after another is visited:
its centroid moves to the mean of its words, and these to their nearest centroid. This file says
when, `index.list_work` how.
"""

import torch
from torch import Tensor

from index.centroids import Centroids
from index.inverted_lists import InvertedLists
from index.list_work import ListWork
from index.table_parts import Parts

SHORTEST = 32  # words that a list should have at least
LISTS = 6  # times the root of the number of words: how many lists there should be
_AT_ONCE, _VISITED = 8, 256  # lists visited together, and words that may be looked at by then
_MOST_SPLIT = 2  # lists at a time
_SETTLED, _MOST_ROUNDS = 64, 64  # lists that are divided together at first, and how often that
# Where less than the one share of the words moves in a visit, visits become rarer; where more than
# the other does, more frequent again.
_FEW_MOVE, _MANY_MOVE = 0.05, 0.15
_SLOWEST, _FIRST_PACE, _FASTEST = 1 / 32, 1 / 8, 1 / 4
# Lists are looked at after so many words written, as a share of all, but at most so many: looking
# at the lengths of all lists takes as long as a few words.
_RUN_SHARE, _RUN_MOST, _RUN_LISTS = 1 / 16, 32, 1 / 16


class Upkeep(Parts):
    """When lists of an index are looked at, and which; see the head of this file.

    Args:
        length: how many words a list should have, if that is given.
    """

    def __init__(self, length: int | None = None) -> None:
        self.length = length
        self._credit = 0.0  # words that may be looked at
        self._pace = _FIRST_PACE  # of them for each word written
        self._since, self._wait = 0, 0  # words written since the last run, and until the next
        self._next = 0  # list that is visited next
        self._tried: Tensor | None = None  # length up to which splitting a list is of no use

    def progress(self) -> list[float]:
        """What `take_progress` takes: where it stands."""
        return [self._credit, self._pace, float(self._next), float(self._since)]

    def take_progress(self, progress: list[float]) -> None:
        """Goes on where another one stood, with numbers brought into their bounds."""
        credit, pace, following, since = progress
        self._credit = min(max(credit, 0.0), float(_VISITED))
        self._pace = min(max(pace, _SLOWEST), _FASTEST)
        self._next, self._since = int(min(max(following, 0), 2**31)), int(min(max(since, 0), 2**31))

    @property
    def until_due(self) -> int:
        """How many words have to be written until `run` looks at lists."""
        return max(SHORTEST, self._wait) - self._since

    def run(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        written: int,
        *,
        compiled: bool,
    ) -> None:
        """Looks at some of the lists, if enough was written since the last time.

        Args:
            centroids: of the lists, changed; lists: changed.
            words: what is kept of all memories, by row.
            written: words written or removed since the last call.
            compiled: whether in compiled form.
        """
        self._credit += written * self._pace
        self._since += written
        if self._since < max(SHORTEST, self._wait):
            return
        since, self._since = self._since, 0
        most = max(_RUN_MOST, int(len(lists.lengths) * _RUN_LISTS))
        totals = lists.words_in()
        self._wait = min(most, int(int(totals.sum()) * _RUN_SHARE))
        work = self._work(centroids, lists, words, totals, compiled=compiled)
        most_split = max(_MOST_SPLIT, since // SHORTEST)
        if work.look(most_split) > most_split:
            self._wait = 0  # the others next time
        while self._credit >= _VISITED:
            self._visit(work)
        self._tried = work.tried
        centroids.regroup()

    def settle(
        self, centroids: Centroids, lists: InvertedLists, words: Tensor, *, compiled: bool
    ) -> None:
        """Divides all lists that are too long, of words that were put there at once."""
        work = self._work(centroids, lists, words, lists.words_in(), compiled=compiled)
        for _ in range(_MOST_ROUNDS):  # parts may be too long again
            if work.look(_SETTLED) <= _SETTLED:
                break
        self._tried = work.tried
        centroids.regroup()

    def _work(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        totals: Tensor,
        *,
        compiled: bool,
    ) -> ListWork:
        """Work on the lists; `totals` are the words of each memory, int64 [B]."""
        given = centroids, lists, words, self._ideal(totals), self._tried
        if not compiled:
            return ListWork(*given)
        from index.kernels.list_work_steps import CompiledListWork

        return CompiledListWork(*given)

    def _ideal(self, totals: Tensor) -> Tensor:
        """How many words a list of each memory should have, int64 [B]."""
        if self.length is not None:
            return torch.full_like(totals, self.length)
        return totals.to(torch.float64).sqrt().div(LISTS).long().clamp_min(SHORTEST)

    def _visit(self, work: ListWork) -> None:
        """Visits the next lists, and adapts how often that is done to how many words moved."""
        lengths, many = work.lists.lengths, work.lists.lists
        memory, begin = divmod(self._next % len(lengths), many)
        end = min(begin + _AT_ONCE, many)
        self._next = (self._next + end - begin) % len(lengths)
        self._credit -= 1  # or an index of empty lists would be visited for ever
        if not int(lengths[memory * many + begin : memory * many + end].sum()):
            return
        seen, moved = work.visit(memory, begin, end)
        self._credit -= seen
        if moved < _FEW_MOVE * seen:
            self._pace = max(_SLOWEST, 0.9 * self._pace)
        elif moved > _MANY_MOVE * seen:
            self._pace = min(_FASTEST, 1.5 * self._pace)
