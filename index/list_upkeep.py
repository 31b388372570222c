"""Keeps the lists of `ivf` fit for the words in them, a few lists at a time.

As many words as were written are looked at again, so that upkeep costs about as much as finding the
lists of new words did. A list that is twice as long as it should be is divided by k-means among its
words; one with less than a sixth of that is given up, and its words go to the next centroids; else
one list after another is visited: its centroid moves to the mean of its words, and these to their
nearest centroid (Lloyd's iteration, list by list). Splitting where words were added is LIRE's idea
(Xu et al. 2023, SPFresh).
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from index.inverted_lists import InvertedLists
from index.kmeans import kmeans
from index.table_parts import Parts

if TYPE_CHECKING:
    from index.ivf import Lists

SHORTEST = 32  # words that a list should have at least
_LONG, _SHORT = 2, 1 / 6  # times the length that a list should have
_MOST_PARTS = 64
_AT_ONCE = 4  # lists visited together
_ITERATIONS = 4


class Upkeep(Parts):
    """When lists of an index are looked at, and which; see the head of this file.

    Args:
        length: how many words a list should have, if that is given.
    """

    def __init__(self, length: int | None = None) -> None:
        self._length = length
        self._credit = 0  # words that may be looked at
        self._next = 0  # list that is visited next
        self._tried: Tensor | None = None  # length up to which splitting a list is of no use

    def run(self, hashed: "Lists", lists: InvertedLists, words: Tensor, written: int) -> None:
        """Looks at about as many words as were written."""
        self._credit = min(self._credit + written, 8 * written + 4 * SHORTEST)
        if self._credit < SHORTEST:
            return
        totals = lists.words_in()
        ideal = self._ideal(totals)
        table = lists.lengths.view(lists.batch_size, -1)
        if self._tried is None or self._tried.shape != table.shape:
            tried, self._tried = self._tried, torch.zeros_like(table)
            if tried is not None:
                self._tried[:, : tried.shape[1]] = tried
        limit = (_LONG * ideal).unsqueeze(1).maximum(self._tried)
        long = (table > limit).nonzero()
        if len(long):
            worst = (table / limit)[long[:, 0], long[:, 1]].argsort(descending=True)
            for memory, which in long[worst].tolist():
                self._split(hashed, lists, words, memory, which, int(ideal[memory]))
                if self._credit < 0:
                    return
        self._give_up(hashed, lists, words, ideal)
        while self._credit >= SHORTEST:
            self._visit(hashed, lists, words)

    def _ideal(self, totals: Tensor) -> Tensor:
        """How many words a list of each memory should have, int64 [B]."""
        if self._length is not None:
            return torch.full_like(totals, self._length)
        return totals.to(torch.float64).sqrt().div(4).long().clamp_min(SHORTEST)

    def _split(
        self,
        hashed: "Lists",
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
        generator = torch.Generator().manual_seed(len(rows))
        order = torch.randperm(len(rows), generator=generator).to(rows.device)
        sample = (mine - hashed.center[memory])[order][: 64 * parts].unsqueeze(0)
        real = torch.ones(sample.shape[:2], dtype=torch.bool, device=rows.device)
        centroids, counts = kmeans(sample, real, parts, iterations=_ITERATIONS, generator=generator)
        centroids = centroids[0, counts[0] > 0]
        self._credit -= len(rows)
        if len(centroids) < 2:  # equal words cannot be divided
            self._tried[memory, which] = 2 * len(rows)  # type: ignore[index]
            return
        numbers = self._new_lists(hashed, lists, memory, which, len(centroids))
        hashed.put_centroids(memory, numbers, centroids)
        self._assign(hashed, lists, memory, rows, mine)

    def _new_lists(
        self, hashed: "Lists", lists: InvertedLists, memory: int, which: int, count: int
    ) -> Tensor:
        """Numbers of `count` lists of a memory: this one, and others that are not in use."""
        dead = hashed.half[memory, 0] == -torch.inf
        dead &= lists.lengths.view(lists.batch_size, -1)[memory] == 0
        if int(dead.sum()) < count - 1:
            grown = max(lists.lists + count, lists.lists * 3 // 2)
            hashed.add_lists(grown - lists.lists)
            lists.add_lists(grown)
            tried = self._tried
            assert tried is not None
            self._tried = torch.nn.functional.pad(tried, (0, grown - tried.shape[1]))
            dead = torch.nn.functional.pad(dead, (0, grown - len(dead)), value=True)
        return torch.cat((lists.starts.new_tensor([which]), dead.nonzero()[: count - 1, 0]))

    def _give_up(self, hashed: "Lists", lists: InvertedLists, words: Tensor, ideal: Tensor) -> None:
        """Gives up lists with few words, of each memory the shortest ones."""
        table = lists.lengths.view(lists.batch_size, -1)
        alive = hashed.half[:, 0] > -torch.inf
        short = alive & (table < (ideal * _SHORT).unsqueeze(1))
        for memory in short.any(1).nonzero()[:, 0].tolist():
            numbers = short[memory].nonzero()[:, 0]
            if len(numbers) == int(alive[memory].sum()):
                numbers = numbers[1:]
            numbers = numbers[table[memory][numbers].argsort(stable=True)]
            total = table[memory][numbers].cumsum(0)
            numbers = numbers[: int((total <= max(self._credit, 0)).sum())]
            if len(numbers) == 0:
                continue
            hashed.half[memory, 0, numbers] = -torch.inf
            places, _ = lists.content(memory * lists.lists + numbers)
            if len(places):
                rows, mine = lists.rows_at(places), lists.words_at(places, words)
                self._credit -= len(rows)
                self._assign(hashed, lists, memory, rows, mine)

    def _visit(self, hashed: "Lists", lists: InvertedLists, words: Tensor) -> None:
        """Moves some centroids to the mean of their words, and these to the nearest centroid."""
        count = len(lists.lengths)
        memory, begin = divmod(self._next % count, lists.lists)
        numbers = torch.arange(begin, min(begin + _AT_ONCE, lists.lists), device=words.device)
        self._next = (self._next + len(numbers)) % count
        numbers = numbers[lists.lengths[memory * lists.lists + numbers] > 0]
        self._credit -= 1  # or an index of empty lists would be visited for ever
        if len(numbers) == 0:
            return
        places, which = lists.content(memory * lists.lists + numbers)
        rows, mine = lists.rows_at(places), lists.words_at(places, words)
        self._credit -= len(rows)
        sums = mine.new_zeros(len(numbers), mine.shape[1]).index_add_(0, which, mine)
        counts = torch.bincount(which, minlength=len(numbers)).unsqueeze(1)
        hashed.put_centroids(memory, numbers, sums / counts - hashed.center[memory])
        self._assign(hashed, lists, memory, rows, mine)

    def _assign(
        self, hashed: "Lists", lists: InvertedLists, memory: int, rows: Tensor, words: Tensor
    ) -> None:
        """Puts words of a memory into the lists of their nearest centroids."""
        home = hashed.word_scores(words.unsqueeze(0), memory)[0].argmax(1)
        moved = (memory * lists.lists + home).unsqueeze(1)
        changed = (lists.list_of(rows) != moved)[:, 0]
        if changed.any():
            lists.move(rows[changed], moved[changed], words[changed])
