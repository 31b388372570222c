"""Lists of a base in two levels: centroids lie group by group, and few groups are looked into."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.contents import Contents
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import ListArrays
from index.kmeans import half_squares, kmeans, masked_mean, nearest_centroids
from index.metric import Metric
from index.topk import argmax

LENGTH, MOST_LISTS = 64, 2**15  # words of a list; with more lists a base takes long to build
FROM = 512  # lists from which there are groups
WORD_GROUPS = 4  # groups that a word is compared with
_SAMPLE, _GROUP_SAMPLE, _ITERATIONS = 16, 64, 5


class GroupedLists(Hash):
    """A list for each of n centroids, which are in G groups of centroids near each other.

    A base does not change, so its centroids can lie group by group, one array after another. A word
    belongs to the nearest centroid of its `WORD_GROUPS` nearest groups. A query looks into the
    lists of its `looked` nearest groups, the nearest centroid first; then into those of one group
    after another. So G + looked n / G centroids are compared, and there can be many short lists.

    Args:
        centroids: c - m, [n, W], group by group.
        starts: the first centroid of each group, and n at the end, int64 [G + 1].
        centers: of the groups, less m, [G, W].
        center: m, the mean of the words that were learned from, [1, 1, W].
        metric: under dot queries look where q.c is highest.
        looked: groups that a query looks into first.
    """

    name = "ivf"
    exact_below = 256
    tables = 1

    def __init__(
        self,
        centroids: Tensor,
        starts: Tensor,
        centers: Tensor,
        center: Tensor,
        metric: Metric,
        looked: int,
    ) -> None:
        self.centroids, self.starts, self.centers = centroids, starts, centers
        self.center, self._dot = center, metric == "dot"
        self._look_into(looked)
        self.half, self.group_half = (half_squares(c[None])[0, 0] for c in (centroids, centers))
        self.lists = self.scores = self.most_probes = len(centroids)

    @staticmethod
    def rule(slots: int) -> Rule:  # of any number of words
        return Rule(tables=1, lists=min(max(1, slots // LENGTH), MOST_LISTS))

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * size.lists

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "GroupedLists":
        center = masked_mean(inputs.sample, inputs.real)
        sample = (inputs.sample - center)[0]
        given: Any = {"iterations": _ITERATIONS, "generator": inputs.generator}
        centers = _means(sample[: _GROUP_SAMPLE * group_count(size.lists)], size.lists, given)
        groups = nearest_centroids(sample[None], centers[None])[0]
        sizes = torch.bincount(groups, minlength=len(centers))
        order = groups.argsort(stable=True)
        parts = []
        for mine in order.split(sizes.tolist()):
            words = sample[mine]
            wanted = math.ceil(len(mine) * size.lists / len(sample))
            real = torch.ones(1, len(mine), dtype=torch.bool)
            found, counts = kmeans(words[None], real, wanted, **given)
            parts.append(found[0][counts[0] > 0])
        starts = torch.tensor([0, *(len(part) for part in parts)]).cumsum(0)
        return cls(torch.cat(parts), starts, centers, center, inputs.metric, WORD_GROUPS)

    def repeated(self, count: int) -> "GroupedLists":
        raise NotImplementedError("repeated: expected lists of memories, got those of a base")

    def choices(self, words: Tensor) -> Choices:
        moved = words - self.center
        near = moved @ self.centers.T + self.group_half
        groups = near.topk(min(WORD_GROUPS, near.shape[2])).indices
        scores = moved @ self.centroids.T + self.half
        inside = torch.zeros_like(near, dtype=torch.bool).scatter_(2, groups, True)
        inside = inside.repeat_interleave(self.starts.diff(), 2)
        return Choices(argmax(scores.masked_fill(~inside, -torch.inf))[1].unsqueeze(2))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        scores, looks = self._order(queries)
        order = scores.argsort(dim=2, descending=True, stable=True)
        by_look = looks.gather(2, order).argsort(dim=2, stable=True)
        return order.gather(2, by_look)[:, :, None, :count]

    def _order(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all lists for queries, and with how many looks they get there, [B, Q, n].

        One look is at the nearest groups together, and one at each of the others.
        """
        moved = self._asked(queries)
        near, scores = moved @ self.centers.T, moved @ self.centroids.T
        if not self._dot:
            near, scores = near + self.group_half, scores + self.half
        place = near.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
        looks = (place - self.looked + 1).clamp_min(0)
        return scores, looks.repeat_interleave(self.starts.diff(), 2)

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.grouped_lists import nearest_in_groups
        from index.kernels.lanes import LaneRoom

        homes, moved = np.empty((*words.shape[:2], 1), np.int64), words - self.center
        near = torch.addmm(self.group_half, moved[0], self.centers.T).numpy()
        rooms = LaneRoom.of(near.dtype), np.empty(int(self.starts.diff().max()), near.dtype)
        given: Any = near, WORD_GROUPS, *self._arrays(), *rooms, homes[0]
        nearest_in_groups(moved[0].numpy(), *given)
        return Choices(torch.from_numpy(homes))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.grouped_lists import choose_in_groups
        from index.kernels.lanes import LaneRoom

        found, moved = Probes.empty(queries, min(self.lists, budget)), self._asked(queries)
        near = moved[0] @ self.centers.T
        if not self._dot:
            near += self.group_half
        scores = near.numpy()
        rooms = LaneRoom.of(scores.dtype), LaneRoom.of(scores.dtype)
        room = np.empty(self._room, scores.dtype), np.empty(self._room, np.int64)
        how = self._dot, self.looked, lists.sizes, budget
        given: Any = scores, *how, *self._arrays(), *rooms, *room, found.lists[0], found.counts[0]
        choose_in_groups(moved[0].numpy(), *given)
        return found

    def _arrays(self) -> tuple[np.ndarray, ...]:
        """Of centroids and groups, for the loops."""
        return self.centroids.numpy(), self.half.numpy(), self.starts.numpy()

    def _look_into(self, looked: int) -> None:
        """Has queries look into so many groups together."""
        self.looked = min(looked, len(self.centers))
        self._room = int(
            self.starts.diff().topk(self.looked).values.sum()
        )  # lists of them, at most

    def needed_words(self, query: Tensor, homes: Tensor, lengths: Tensor) -> Tensor:
        """How many words a query [W] has to meet before it looks into lists, int64 [m].

        Args:
            query: as a search takes it.
            homes: the lists.
            lengths: words in each, int64 [n].

        Returns:
            float64 [m].
        """
        scores, looks = (part[0, 0] for part in self._order(query.view(1, 1, -1)))
        score, look = scores[homes, None], looks[homes, None]
        before = (looks < look) | ((looks == look) & (scores > score))
        return (before * lengths).sum(1).double() + 1

    def tuned(self, enough: Callable[[], int]) -> int:
        """Has queries look into as many groups as makes them compare least.

        Args:
            enough: how many words a query has to meet, with `looked` as it is.

        Returns:
            That many.
        """
        groups, found = len(self.centers), []
        # All powers of two: with few groups most words needed may lie outside, up to some number.
        for power in range((groups - 1).bit_length() + 1):
            self._look_into(2**power)
            budget = enough()
            found.append((self.looked * self.lists / groups + budget, self.looked, budget))
        _, looked, budget = min(found)
        self._look_into(looked)
        return budget

    def _asked(self, queries: Tensor) -> Tensor:
        return queries if self._dot else queries - self.center

    def content(self) -> dict[str, Tensor]:
        return {
            "centroids": self.centroids,
            "group_starts": self.starts,
            "group_centers": self.centers,
            "center": self.center,
            "looked": torch.tensor([self.looked]),
        }

    @classmethod
    def restored(cls, given: Contents, index: Any, tables: int, lists: int) -> "GroupedLists":
        width, dtype = index.word_size, index.dtype
        centers = given.finite("hash_group_centers", (None, width), dtype)
        groups = len(centers)
        starts = given.integers("hash_group_starts", (groups + 1,), 0, lists + 1)
        if (
            groups == 0
            or int(starts[0])
            or int(starts[-1]) != lists
            or bool((starts.diff() < 0).any())
        ):
            raise given.refuse(
                "hash_group_starts", f"where groups of {lists} lists begin", "others"
            )
        return cls(
            given.finite("hash_centroids", (lists, width), dtype),
            starts,
            centers,
            given.finite("hash_center", (1, 1, width), dtype),
            index.config.metric,
            int(given.integers("hash_looked", (1,), 1, groups + 1)),
        )


def group_count(lists: int) -> int:
    """Groups of so many lists: a power of two near four times the root, or one."""
    return 1 if lists < FROM else 4 << round(lists.bit_length() / 2)


def _means(sample: Tensor, lists: int, given: Any) -> Tensor:
    """Centers of the groups of so many lists, [G, W]."""
    real = torch.ones(1, len(sample), dtype=torch.bool)
    centers, counts = kmeans(sample[None], real, group_count(lists), **given)
    return centers[0][counts[0] > 0]
