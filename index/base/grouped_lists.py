"""Lists of a base in two levels: centroids lie group by group, and few groups are looked into."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.base.coded import CodedVectors, rounded_queries
from index.base.group_means import group_centers, moved_centroids
from index.compiled import is_compiled
from index.contents import Contents
from index.hashing import Choices, Hash, LearnInputs, Probes, Rule, Size
from index.inverted_lists import ListArrays
from index.kmeans import SCORES_AT_ONCE, half_squares, masked_mean, nearest_centroids
from index.list_copies import BLOCK
from index.metric import Metric
from index.topk import argmax

LENGTH, MOST_LISTS = 64, 2**18  # words of a list; with more lists a base takes long to build
WORD_GROUPS = 12  # groups that a word is compared with
# A word farther from the nearest centroid there than so many times the mean, squared, is compared
# with so many times as many groups.
_FAR, _AGAIN = 1.25, 4
_FINER = 4  # numbers of groups that are tried between one power of two and the next
_OF_WORD = 3  # what a word costs that is compared, which has to come from far, times a centroid
_SAMPLE, _ROUNDS = 16, 6  # words that a centroid is learned from, and how often all of them move


class GroupedLists(Hash):
    """A list for each of n centroids, which are in G groups of centroids near each other.

    A base does not change, so its centroids can lie group by group, one array after another. A word
    belongs to the nearest centroid of its `WORD_GROUPS` nearest groups, or of more if it is far
    from that. A query looks into the lists of its `looked` nearest groups, the nearest centroid
    first; then into those of one group after another. So G + looked n / G centroids are compared,
    and there can be many short lists. Centroids are int8 codes with a scale each, which compare
    faster and stay in a cache; they are what their codes say, in all forms.

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
        self._coded, self._coded_centers = CodedVectors(centroids), CodedVectors(centers)
        self.starts, self.centers = starts, self._coded_centers.vectors()
        self.center, self.by_product = center, metric == "dot"
        self.half, self.group_half = (
            half_squares(c[None])[0, 0] for c in (self.centroids, self.centers)
        )
        self._half_blocks, self._group_half_blocks = (
            functional.pad(half, (0, -len(half) % BLOCK)) for half in (self.half, self.group_half)
        )
        self._for_loops: dict[bool, Any] = {}
        self._look_into(looked)
        self.lists = self.scores = self.most_probes = len(centroids)

    @property
    def centroids(self) -> Tensor:
        """A copy of them, as their codes say, [n, W]."""
        return self._coded.vectors()

    @staticmethod
    def rule(slots: int) -> Rule:  # of any number of words
        return Rule(tables=1, lists=min(max(1, slots // LENGTH), MOST_LISTS))

    @staticmethod
    def sample_size(size: Size, metric: Metric) -> int:
        return _SAMPLE * size.lists

    @classmethod
    def learn(cls, size: Size, inputs: LearnInputs) -> "GroupedLists":
        # Learned group by group, a cluster of words would lie in as many lists as it has groups. So
        # all words look for the nearest of all centroids, which begin at some of them.
        center = masked_mean(inputs.sample, inputs.real)
        sample, none = (inputs.sample - center)[0], torch.zeros_like(center)
        centers = group_centers(sample, size.lists, inputs.generator)
        learned = cls._grouped(sample[: size.lists], centers, none, "l2")
        for step in range(_ROUNDS):
            given = sample, learned.homes(sample), learned.centroids
            moved = moved_centroids(*given, into_large=step < _ROUNDS - 1)
            learned = cls._grouped(moved, centers, none, "l2")
        return cls._grouped(learned.centroids, centers, center, inputs.metric)

    @classmethod
    def _grouped(
        cls, centroids: Tensor, centers: Tensor, center: Tensor, metric: Metric
    ) -> "GroupedLists":
        """Centroids [n, W], less the mean, put in the order of their nearest centers."""
        groups = nearest_centroids(centroids[None], centers[None])[0]
        starts = torch.bincount(groups, minlength=len(centers)).cumsum(0)
        starts = torch.cat((starts.new_zeros(1), starts))
        ordered = centroids[groups.argsort(stable=True)]
        return cls(ordered, starts, centers, center, metric, WORD_GROUPS)

    def homes(self, words: Tensor) -> Tensor:
        """The list of each word [m, W], scaled for the metric, int64 [m]."""
        compiled = is_compiled(None, words.device, words.dtype)
        choose = self.assigned if compiled else self.choices
        width = len(self.centers) if compiled else self.lists
        found = torch.empty(len(words), dtype=torch.int64)
        at_once = max(1, SCORES_AT_ONCE // width)
        for part, into in zip(words.split(at_once), found.split(at_once), strict=True):
            into.copy_(choose(part.unsqueeze(0)).lists[0, :, 0])
        return found

    def repeated(self, count: int) -> "GroupedLists":
        raise NotImplementedError("repeated: expected lists of memories, got those of a base")

    def choices(self, words: Tensor) -> Choices:
        moved = words - self.center
        rounded = rounded_queries(moved)
        near = rounded @ self.centers.T + self.group_half
        scores = rounded @ self.centroids.T + self.half
        order = near.topk(min(_AGAIN * WORD_GROUPS, near.shape[2])).indices

        def best(groups: Tensor) -> tuple[Tensor, Tensor]:
            inside = torch.zeros_like(near, dtype=torch.bool).scatter_(2, groups, True)
            inside = inside.repeat_interleave(self.starts.diff(), 2)
            return argmax(scores.masked_fill(~inside, -torch.inf))

        values, homes = best(order[:, :, :WORD_GROUPS])
        far = _far(moved, values)
        return Choices(torch.where(far, best(order)[1], homes).unsqueeze(2))

    def probes(self, queries: Tensor, count: int, memory: int | None = None) -> Tensor:
        scores, looks = self._order(queries)
        order = scores.argsort(dim=2, descending=True, stable=True)
        by_look = looks.gather(2, order).argsort(dim=2, stable=True)
        return order.gather(2, by_look)[:, :, None, :count]

    def _order(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all lists for queries, and with how many looks they get there, [B, Q, n].

        One look is at the nearest groups together, and one at each of the others.
        """
        scores, place = self._scores(queries)
        looks = (place - self.looked + 1).clamp_min(0)
        return scores, looks.repeat_interleave(self.starts.diff(), 2)

    def _scores(self, queries: Tensor) -> tuple[Tensor, Tensor]:
        """Scores of all lists for queries [B, Q, n], and how many groups are nearer, [B, Q, G]."""
        rounded = rounded_queries(self._asked(queries))
        near, scores = rounded @ self.centers.T, rounded @ self.centroids.T
        if not self.by_product:
            near, scores = near + self.group_half, scores + self.half
        place = near.argsort(dim=2, descending=True, stable=True).argsort(dim=2)
        return scores, place

    def assigned(self, words: Tensor) -> Choices:
        from index.kernels.grouped_lists import Room, nearest_in_groups

        given, homes = words[0].contiguous(), np.empty(words.shape[1], np.int64)
        groups, values = len(self.centers), np.empty(len(homes), np.float32)
        room = Room.of(self.word_size, groups, int(self.starts.diff().max()))

        def look(which: Tensor, most: int) -> None:
            tables: Any = min(most, groups), self._arrays(False), room, values, homes
            nearest_in_groups(given.numpy(), which.numpy(), *tables)

        look(torch.arange(len(homes)), WORD_GROUPS)
        far = _far(given - self.center[0], torch.from_numpy(values))
        look(far.nonzero().squeeze(1), _AGAIN * WORD_GROUPS)
        return Choices(torch.from_numpy(homes).view(1, -1, 1))

    def chosen(self, queries: Tensor, lists: ListArrays, budget: int) -> Probes:
        from index.kernels.grouped_lists import choose_in_groups

        found = Probes.empty(queries, min(self.lists, budget))
        how: Any = self.looked, lists.sizes, budget
        into: Any = *self.for_loops(), found.lists[0], found.counts[0]
        choose_in_groups(queries[0].contiguous().numpy(), *how, *into)
        return found

    def for_loops(self) -> tuple[Any, Any]:
        """Centroids and room for `choose_in_groups`."""
        from index.kernels.grouped_lists import Room

        room = Room.of(self.word_size, len(self.centers), self._room)
        return self._arrays(self.by_product), room

    @property
    def word_size(self) -> int:
        """W."""
        return self.centers.shape[1]

    def _arrays(self, by_product: bool) -> Any:
        """Of centroids and groups, for the loops; by product nothing is taken from q or q.c."""
        if by_product not in self._for_loops:
            from index.kernels.grouped_lists import CodedCentroids

            taken = self._half_blocks, self._group_half_blocks, self.center.view(-1)
            half, group_half, center = (
                (torch.zeros_like(one) if by_product else one).numpy() for one in taken
            )
            groups = *self._coded_centers.arrays(), group_half
            self._for_loops[by_product] = CodedCentroids(
                *self._coded.arrays(), half, self.starts.numpy(), *groups, center
            )
        return self._for_loops[by_product]

    def _look_into(self, looked: int) -> None:
        """Has queries look into so many groups together."""
        self.looked, sizes = min(looked, len(self.centers)), self.starts.diff()
        self._room = int(sizes.topk(self.looked).values.sum())  # lists of them, at most

    def needed_words(self, query: Tensor, homes: Tensor, lengths: Tensor) -> Tensor:
        """How many words a query has to meet before it looks into lists, by groups looked into.

        Args:
            query: [W], as a search takes it.
            homes: the lists, int64 [m].
            lengths: words in each, int64 [n].

        Returns:
            float64 [m, G]; in column g for g + 1 groups that are looked into together.

        Cost: O(m n).
        """
        scores, place = (part[0, 0] for part in self._scores(query.view(1, 1, -1)))
        groups = torch.arange(len(place)).repeat_interleave(self.starts.diff())
        places, words = place[groups], lengths.double()
        higher = words.new_zeros(len(homes), len(place))  # words of nearer lists, by group
        for row, home in zip(higher, homes, strict=True):
            row.index_add_(0, places, words * (scores > scores[home]))
        every = words.new_zeros(len(place)).index_add_(0, places, words)
        own = places[homes].unsqueeze(1)
        alone = (every.cumsum(0) - every)[own] + higher.gather(1, own)
        together = torch.arange(len(place)) >= own
        return torch.where(together, higher.cumsum(1), alone) + 1

    def tuned(self, needed: Tensor, enough: Callable[[Tensor], int]) -> int:
        """Has queries look into as many groups as makes them compare least.

        Args:
            needed: words of some queries as of `needed_words`, [m, G].
            enough: how many words a query has to meet, given how many some have to, [m].

        Returns:
            That many.
        """
        groups, found = len(self.centers), []
        # All of them: with few groups most words needed may lie outside, up to some number.
        most = groups - 1
        powers = range(_FINER * most.bit_length() + 1)
        for looked in sorted({min(groups, round(2 ** (power / _FINER))) for power in powers}):
            budget = enough(needed[:, looked - 1])
            found.append((looked * self.lists / groups + _OF_WORD * budget, looked, budget))
        _, looked, budget = min(found)
        self._look_into(looked)
        return budget

    def _asked(self, queries: Tensor) -> Tensor:
        return queries if self.by_product else queries - self.center

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


def _far(words: Tensor, scores: Tensor) -> Tensor:
    """Whether words [..., W] are farther from the nearest centroid found than most are, bool [...].

    Args:
        scores: x.c - |c|^2 / 2 of that centroid.
    """
    squares = words.square().sum(-1) - 2 * scores
    return squares > _FAR * squares.mean()
