"""Keeps the lists of `ivf` fit for the words in them, a few lists at a time.

For four words written up to one is looked at again, and fewer while few of them move. A list that
is twice as long as it should be is divided by k-means among its words; one with less than a sixth
of that is given up, and its words go to the next centroids; else one list after another is visited:
its centroid moves to the mean of its words, and these to their nearest centroid (Lloyd's iteration,
list by list).
Splitting where words were added is LIRE's idea
(Xu et al. 2023, SPFresh).
"""

from math import gcd
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.centroids import Centroids
from index.inverted_lists import InvertedLists
from index.kmeans import kmeans
from index.list_groups import WORD_GROUPS
from index.table_parts import Parts

SHORTEST = 32  # words that a list should have at least
LISTS = 6  # times the root of the number of words: how many lists there should be
_LONG, _SHORT = 2, 1 / 6  # times the length that a list should have
_MOST_PARTS = 64
_AT_ONCE, _VISITED = 8, 256  # lists visited together, and words that may be looked at by then
_ITERATIONS = 4
_MOST_SPLIT, _MOST_GIVEN_UP = 2, 8  # lists at a time, of all memories and of each
_MOST_TIGHTENED = 8
# Where less than the one share of the words moves in a visit, visits become rarer; where more than
# the other does, more frequent again.
_FEW_MOVE, _MANY_MOVE = 0.05, 0.15
_SLOWEST, _FIRST_PACE, _FASTEST = 1 / 32, 1 / 8, 1 / 4
# Lists are looked at after so many words written, as a share of all, but at most so many: looking
# at the lengths of all lists takes as long as a few words.
_RUN_SHARE, _RUN_MOST, _RUN_LISTS = 1 / 16, 64, 1 / 64


class Upkeep(Parts):
    """When lists of an index are looked at, and which; see the head of this file.

    Args:
        length: how many words a list should have, if that is given.
    """

    def __init__(self, length: int | None = None) -> None:
        self._length = length
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
            compiled: whether in compiled form, which looks for the words of a list in the groups
                near its centroid; this one in all that are near one of the words.
        """
        self._credit += written * self._pace
        self._since += written
        if self._since < max(SHORTEST, self._wait):
            return
        since, self._since = self._since, 0
        totals = lists.words_in()
        most = max(_RUN_MOST, int(len(lists.lengths) * _RUN_LISTS))
        self._wait = min(most, int(int(totals.sum()) * _RUN_SHARE))
        ideal = self._ideal(totals)
        tried = self._lengths_tried(lists)
        most_split = max(_MOST_SPLIT, since // SHORTEST)
        given = centroids, lists, words, ideal
        long = (self._look_compiled if compiled else self._look)(*given, tried, most_split)
        if long > most_split:
            self._wait = 0  # the others next time
        while self._credit >= _VISITED:
            memory, begin = divmod(self._next % len(lists.lengths), lists.lists)
            end = min(begin + _AT_ONCE, lists.lists)
            self._next = (self._next + end - begin) % len(lists.lengths)
            self._credit -= 1  # or an index of empty lists would be visited for ever
            if not int(
                lists.lengths[memory * lists.lists + begin : memory * lists.lists + end].sum()
            ):
                continue
            visit = self._visit_compiled if compiled else self._visit
            self._visited(*visit(*given, memory, begin, end))
        centroids.regroup()

    def _lengths_tried(self, lists: InvertedLists) -> Tensor:
        """Up to which length dividing a list is of no use, int64 [B, n]."""
        shape = lists.batch_size, lists.lists
        if self._tried is None or self._tried.shape != shape:
            tried, self._tried = self._tried, lists.lengths.new_zeros(shape)
            if tried is not None:
                self._tried[:, : tried.shape[1]] = tried
        return self._tried

    def _look(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        ideal: Tensor,
        tried: Tensor,
        most_split: int,
    ) -> int:
        """Divides long lists, gives up short ones; returns how many long ones there were."""
        table = lists.lengths.view(lists.batch_size, -1)
        long = (table > (_LONG * ideal).unsqueeze(1).maximum(tried)).nonzero()
        if len(long):
            # The longest ones first.
            order = table[long[:, 0], long[:, 1]].argsort(descending=True, stable=True)[:most_split]
            for memory, which in long[order].tolist():
                self._split(centroids, lists, words, memory, which, int(ideal[memory]))
        self._give_up(centroids, lists, words, ideal)
        lists.tighten(_MOST_TIGHTENED)
        return len(long)

    def _look_compiled(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        ideal: Tensor,
        tried: Tensor,
        most_split: int,
    ) -> int:
        from index.kernels import list_upkeep as kernel

        rules, chosen = self._rules(ideal), np.empty(most_split, np.int64)
        arrays = lists.arrays(words), centroids.arrays()
        long = kernel.find_long(rules, *arrays, tried.numpy(), chosen)
        for memory, which in [divmod(one, lists.lists) for one in chosen[:long].tolist()]:
            self._split_compiled(centroids, lists, words, memory, which, rules)
        if long:
            arrays = lists.arrays(words), centroids.arrays()
        if not kernel.give_up_and_tighten(rules, *arrays):
            lists.pack()
            self._give_up(centroids, lists, words, ideal)
        return long

    def _split_compiled(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        memory: int,
        which: int,
        rules: Any,
    ) -> None:
        from index.kernels import list_upkeep as kernel

        why = kernel.NO_LISTS
        while why == kernel.NO_LISTS:
            centroids.make_room()
            tried = self._lengths_tried(lists).numpy()
            arrays = lists.arrays(words), centroids.arrays()
            why, count = kernel.split(memory, which, rules, *arrays, tried)
            if why == kernel.NO_LISTS:
                self._add_lists(centroids, lists, count)
            else:
                centroids.changed(count)
        if why == kernel.NO_PLACES:
            lists.pack()
            numbers = lists.starts.new_tensor([which])
            self._assign_content(centroids, lists, words, memory, numbers)

    def _rules(self, ideal: Tensor) -> Any:
        from index.kernels.list_upkeep import Rules

        most = _MOST_GIVEN_UP, _MOST_TIGHTENED, _MOST_PARTS
        return Rules(ideal.numpy(), _LONG, _SHORT, *most, _ITERATIONS, WORD_GROUPS)

    def _ideal(self, totals: Tensor) -> Tensor:
        """How many words a list of each memory should have, int64 [B]."""
        if self._length is not None:
            return torch.full_like(totals, self._length)
        return totals.to(torch.float64).sqrt().div(LISTS).long().clamp_min(SHORTEST)

    def _split(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        memory: int,
        which: int,
        ideal: int,
    ) -> None:
        """Divides a list by k-means among its words."""
        places, _ = lists.content(lists.starts.new_tensor([memory * lists.lists + which]))
        rows, order = lists.rows_at(places).sort()  # the order in a list has no meaning
        mine = lists.words_at(places[order], words)
        parts = min(max(2, len(rows) // ideal), _MOST_PARTS)
        order = spread_order(len(rows), 64 * parts).to(rows.device)
        sample = (mine[order] - centroids.center[memory]).unsqueeze(0)
        real = torch.ones(sample.shape[:2], dtype=torch.bool, device=rows.device)
        generator = torch.Generator()  # of use for fewer words than parts
        found, counts = kmeans(sample, real, parts, iterations=_ITERATIONS, generator=generator)
        # A part that would be given up for its shortness at once is none.
        found = found[0, counts[0] * len(rows) >= max(1, _SHORT * ideal) * sample.shape[1]]
        if len(found) < 2:  # nor can equal words be divided
            self._tried[memory, which] = len(rows) * 5 // 4  # type: ignore[index]
            return
        numbers = self._new_lists(centroids, lists, memory, which, len(found))
        centroids.put(memory, numbers, found)
        self._assign(centroids, lists, words, memory, rows, mine)

    def _new_lists(
        self, centroids: Centroids, lists: InvertedLists, memory: int, which: int, count: int
    ) -> Tensor:
        """Numbers of `count` lists of a memory: this one, and others that are not in use."""
        dead = ~centroids.alive()[memory]
        dead &= lists.lengths.view(lists.batch_size, -1)[memory] == 0
        if int(dead.sum()) < count - 1:
            self._add_lists(centroids, lists, count)
            dead = torch.nn.functional.pad(dead, (0, lists.lists - len(dead)), value=True)
        return torch.cat((lists.starts.new_tensor([which]), dead.nonzero()[: count - 1, 0]))

    def _add_lists(self, centroids: Centroids, lists: InvertedLists, count: int) -> None:
        """Adds at least so many lists to each memory."""
        grown = max(lists.lists + count, lists.lists * 3 // 2)
        centroids.add_lists(grown - lists.lists)
        lists.add_lists(grown)
        self._lengths_tried(lists)

    def _give_up(
        self, centroids: Centroids, lists: InvertedLists, words: Tensor, ideal: Tensor
    ) -> None:
        """Gives up lists with few words, of each memory the shortest ones."""
        table = lists.lengths.view(lists.batch_size, -1)
        short = table < (ideal * _SHORT).unsqueeze(1)
        alive = centroids.alive()
        short &= alive
        for memory in short.any(1).nonzero()[:, 0].tolist():
            numbers = short[memory].nonzero()[:, 0]
            if len(numbers) == int(alive[memory].sum()):
                numbers = numbers[1:]
            numbers = numbers[table[memory][numbers].argsort(stable=True)]
            numbers = numbers[:_MOST_GIVEN_UP]
            if len(numbers) == 0:
                continue
            centroids.give_up(memory, numbers)
            self._assign_content(centroids, lists, words, memory, numbers)

    def _visit(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        ideal: Tensor,
        memory: int,
        begin: int,
        end: int,
    ) -> tuple[int, int]:
        """Moves some centroids to the mean of their words, and these to the nearest centroid.

        Returns how many words there are, and how many moved.
        """
        numbers = torch.arange(begin, end, device=words.device)
        numbers = numbers[lists.lengths[memory * lists.lists + numbers] > 0]
        rows, mine, which = self._content(lists, words, memory, numbers)
        sums = mine.new_zeros(len(numbers), mine.shape[1]).index_add_(0, which, mine)
        counts = torch.bincount(which, minlength=len(numbers)).unsqueeze(1)
        centroids.put(memory, numbers, sums / counts - centroids.center[memory])
        return len(rows), self._assign(centroids, lists, words, memory, rows, mine)

    def _visit_compiled(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        ideal: Tensor,
        memory: int,
        begin: int,
        end: int,
    ) -> tuple[int, int]:
        from index.kernels import list_upkeep as kernel

        rules = self._rules(ideal)
        centroids.make_room()
        arrays = lists.arrays(words), centroids.arrays()
        seen, moved, changes = kernel.visit(memory, begin, end, rules, *arrays)
        centroids.changed(changes)
        if moved < 0:
            lists.pack()
            numbers = torch.arange(begin, end)
            rest = self._assign_content(centroids, lists, words, memory, numbers)
            moved = rest - moved - 1
        return seen, moved

    def _visited(self, seen: int, moved: int) -> None:
        """Adapts how often lists are visited to how many of their words moved."""
        self._credit -= seen
        if moved < _FEW_MOVE * seen:
            self._pace = max(_SLOWEST, 0.9 * self._pace)
        elif moved > _MANY_MOVE * seen:
            self._pace = min(_FASTEST, 1.5 * self._pace)

    def _content(
        self, lists: InvertedLists, words: Tensor, memory: int, numbers: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and words of some lists of a memory, and of which of them each is."""
        places, which = lists.content(memory * lists.lists + numbers)
        return lists.rows_at(places), lists.words_at(places, words), which

    def _assign_content(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        memory: int,
        numbers: Tensor,
    ) -> int:
        """`_assign` of all words that are in some lists of a memory."""
        rows, mine, _ = self._content(lists, words, memory, numbers)
        return self._assign(centroids, lists, words, memory, rows, mine) if len(rows) else 0

    def _assign(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        memory: int,
        rows: Tensor,
        mine: Tensor,
    ) -> int:
        """Puts words of a memory into the lists of their nearest centroids; how many moved."""
        moved = (memory * lists.lists + centroids.nearest(mine, memory)).unsqueeze(1)
        changed = (lists.list_of(rows) != moved)[:, 0].nonzero()[:, 0]
        if len(changed):
            lists.move(rows[changed], moved[changed], words)
        return len(changed)


def spread_order(count: int, most: int) -> Tensor:
    """At most so many of `count` numbers, spread over all of them, each once, int64."""
    stride = max(1, count * 5 // 8)
    while gcd(stride, count) != 1:
        stride += 1
    return torch.arange(min(count, most)) * stride % count
