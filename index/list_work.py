"""What is done to lists of `ivf` that no longer fit their words: divided, given up, visited.

This is the form in torch; `index.kernels.list_work_steps` has the compiled one. Splitting where
words were added is LIRE's idea (Xu et al. 2023, SPFresh); a visit is Lloyd's iteration of a few
lists.
"""

from math import gcd

import torch
from torch import Tensor

from index.centroids import Centroids
from index.inverted_lists import InvertedLists
from index.kmeans import kmeans

LONG, SHORT = 2, 1 / 6  # times the length that a list should have
MOST_PARTS, ITERATIONS = 64, 4
MOST_GIVEN_UP, MOST_TIGHTENED = 8, 8  # lists of each memory, and of all


class ListWork:
    """Lists of one table, their centroids and words, while some of them are changed.

    Args:
        centroids: of the lists; changed.
        lists: changed.
        words: what is kept of all memories, by row.
        ideal: how many words a list of each memory should have, int64 [B].
        tried: length up to which dividing a list is of no use, int64 [B, n]; None at first. It may
            grow, and is an attribute.
    """

    def __init__(
        self,
        centroids: Centroids,
        lists: InvertedLists,
        words: Tensor,
        ideal: Tensor,
        tried: Tensor | None,
    ) -> None:
        self.centroids, self.lists, self.words, self.ideal = centroids, lists, words, ideal
        self.tried = lists.lengths.new_zeros(0, 0) if tried is None else tried
        self._fit_tried()

    def look(self, most_split: int) -> int:
        """Divides the longest lists, gives up short ones; returns how many long ones there were."""
        table = self._table()
        long = (table > (LONG * self.ideal).unsqueeze(1).maximum(self.tried)).nonzero()
        if len(long):
            order = table[long[:, 0], long[:, 1]].argsort(descending=True, stable=True)
            for memory, which in long[order[:most_split]].tolist():
                self._split(memory, which)
        self._give_up()
        self.lists.tighten(MOST_TIGHTENED)
        return len(long)

    def visit(self, memory: int, begin: int, end: int) -> tuple[int, int]:
        """Moves some centroids to the mean of their words, and these to the nearest centroid.

        Returns how many words there are, and how many moved.
        """
        numbers = torch.arange(begin, end, device=self.words.device)
        numbers = numbers[self._table()[memory, numbers] > 0]
        rows, mine, which = self._content(memory, numbers)
        sums = mine.new_zeros(len(numbers), mine.shape[1]).index_add_(0, which, mine)
        counts = torch.bincount(which, minlength=len(numbers)).unsqueeze(1)
        self.centroids.put(memory, numbers, sums / counts - self.centroids.center[memory])
        return len(rows), self._assign(memory, rows, mine)

    def _table(self) -> Tensor:
        """Words in each list, int64 [B, n]."""
        return self.lists.lengths.view(self.lists.batch_size, -1)

    def _fit_tried(self) -> None:
        shape = self.lists.batch_size, self.lists.lists
        if self.tried.shape != shape:
            tried, self.tried = self.tried, self.lists.lengths.new_zeros(shape)
            self.tried[: len(tried), : tried.shape[1]] = tried

    def _split(self, memory: int, which: int) -> None:
        """Divides a list by k-means among its words."""
        rows, mine, _ = self._content(memory, self.lists.starts.new_tensor([which]))
        rows, order = rows.sort()  # the order in a list has no meaning
        mine, ideal = mine[order], int(self.ideal[memory])
        parts = min(max(2, len(rows) // ideal), MOST_PARTS)
        order = spread_order(len(rows), 64 * parts).to(rows.device)
        sample = (mine[order] - self.centroids.center[memory]).unsqueeze(0)
        real = torch.ones(sample.shape[:2], dtype=torch.bool, device=rows.device)
        generator = torch.Generator()  # of use for fewer words than parts
        found, counts = kmeans(sample, real, parts, iterations=ITERATIONS, generator=generator)
        # A part that would be given up for its shortness at once is none.
        found = found[0, counts[0] * len(rows) >= max(1, SHORT * ideal) * sample.shape[1]]
        if len(found) < 2:  # nor can equal words be divided
            self.tried[memory, which] = len(rows) * 5 // 4
            return
        self.centroids.put(memory, self._new_lists(memory, which, len(found)), found)
        self._assign(memory, rows, mine)

    def _new_lists(self, memory: int, which: int, count: int) -> Tensor:
        """Numbers of `count` lists of a memory: this one, and others that are not in use."""
        dead = ~self.centroids.alive()[memory] & (self._table()[memory] == 0)
        if int(dead.sum()) < count - 1:
            self._add_lists(count)
            dead = torch.nn.functional.pad(dead, (0, self.lists.lists - len(dead)), value=True)
        first = self.lists.starts.new_tensor([which])
        return torch.cat((first, dead.nonzero()[: count - 1, 0]))

    def _add_lists(self, count: int) -> None:
        """Adds at least so many lists to each memory."""
        grown = max(self.lists.lists + count, self.lists.lists * 3 // 2)
        self.centroids.add_lists(grown - self.lists.lists)
        self.lists.add_lists(grown)
        self._fit_tried()

    def _give_up(self) -> None:
        """Gives up lists with few words, of each memory the shortest ones."""
        table, alive = self._table(), self.centroids.alive()
        short = (table < (self.ideal * SHORT).unsqueeze(1)) & alive
        for memory in short.any(1).nonzero()[:, 0].tolist():
            numbers = short[memory].nonzero()[:, 0]
            if len(numbers) == int(alive[memory].sum()):
                numbers = numbers[1:]
            numbers = numbers[table[memory][numbers].argsort(stable=True)]
            numbers = numbers[:MOST_GIVEN_UP]
            if len(numbers):
                self.centroids.give_up(memory, numbers)
                self._assign_content(memory, numbers)

    def _content(self, memory: int, numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rows and words of some lists of a memory, and of which of them each is."""
        places, which = self.lists.content(memory * self.lists.lists + numbers)
        return self.lists.rows_at(places), self.lists.words_at(places, self.words), which

    def _assign_content(self, memory: int, numbers: Tensor) -> int:
        """`_assign` of all words that are in some lists of a memory."""
        rows, mine, _ = self._content(memory, numbers)
        return self._assign(memory, rows, mine) if len(rows) else 0

    def _assign(self, memory: int, rows: Tensor, mine: Tensor) -> int:
        """Puts words of a memory into the lists of their nearest centroids; how many moved."""
        nearest = self.centroids.nearest(mine, memory)
        moved = (memory * self.lists.lists + nearest).unsqueeze(1)
        changed = (self.lists.list_of(rows) != moved)[:, 0].nonzero()[:, 0]
        if len(changed):
            self.lists.move(rows[changed], moved[changed], self.words)
        return len(changed)


def spread_order(count: int, most: int) -> Tensor:
    """At most so many of `count` numbers, spread over all of them, each once, int64."""
    stride = max(1, count * 5 // 8)
    while gcd(stride, count) != 1:
        stride += 1
    return torch.arange(min(count, most)) * stride % count
