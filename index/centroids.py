"""The centroids of inverted lists, which change while the lists live."""

from typing import NamedTuple, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.kmeans import half_squares
from index.list_groups import FROM, WORD_GROUPS, Groups
from index.table_parts import Parts, copy_of
from index.topk import argmax


class CentroidArrays(NamedTuple):
    """The tensors of `Centroids` and its groups as arrays, for compiled loops; G may be 0."""

    centroids: np.ndarray  # [B, n, W]
    columns: np.ndarray  # the same, [B, W, n]
    half: np.ndarray  # [B, n]
    center: np.ndarray  # [B, W]
    group_centers: np.ndarray  # [B, G, W]
    group_columns: np.ndarray  # the same, [B, W, G]
    group_half: np.ndarray  # [B, G]
    group_of: np.ndarray  # of each list, int64 [B, n] or [B, 0]
    members: np.ndarray  # lists of each group, int32 [B, G, most]
    sizes: np.ndarray  # how many, int64 [B, G]


class Centroids(Parts):
    """Centroids c_i of n lists of each memory, some of them not in use.

    All is computed around the mean m of the words that were learned from: far from the origin the
    terms of a distance would cancel otherwise. Many lists are in groups, see `index.list_groups`.

    Args:
        centroids: c - m, [B, n, W].
        alive: which are in use, bool [B, n].
        center: m, [B, 1, W].

    Attributes:
        half: -|c - m|^2 / 2, -inf for a list that is not in use, [B, 1, n].
        groups: None with few lists, and away from the CPU.
    """

    def __init__(self, centroids: Tensor, alive: Tensor, center: Tensor) -> None:
        self.center = center
        self.centroids = centroids.contiguous()
        self._columns: Tensor | None = None  # [B, W, n], once compiled loops need them
        self.half = half_squares(centroids).masked_fill_(~alive.unsqueeze(1), -torch.inf)
        self.groups: Groups | None = None
        self._arrays: tuple[tuple[int, ...], CentroidArrays, tuple[Tensor, ...]] | None = None
        self.regroup()

    @property
    def lists(self) -> int:
        """n."""
        return self.centroids.shape[1]

    def word_scores(self, words: Tensor, memory: int | None = None) -> Tensor:
        """(x - m).(c - m) - |c - m|^2 / 2 of words [B, M, W], highest for the nearest; [B, M, n].

        Args:
            words: x.
            memory: with it B is 1, and the words are of this memory.
        """
        center, centroids, half = self._of(memory)
        return torch.baddbmm(half, words - center, centroids.transpose(1, 2))

    def products(self, queries: Tensor, memory: int | None = None) -> Tensor:
        """q.c of queries [B, Q, W], up to a constant of the query; [B, Q, n]."""
        _, centroids, half = self._of(memory)
        scores = torch.bmm(queries, centroids.transpose(1, 2))
        return scores.masked_fill_(half == -torch.inf, -torch.inf)

    def _of(self, memory: int | None) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.center, self.centroids, self.half
        if memory is None:
            return parts
        center, centroids, half = (part[memory : memory + 1] for part in parts)
        return center, centroids, half

    def nearest(self, words: Tensor, memory: int) -> Tensor:
        """Lists of words [m, W] of a memory, int64 [m], all looked for in the same groups."""
        if self.groups is None:
            return argmax(self.word_scores(words.unsqueeze(0), memory)[0])[1]
        moved = words - self.center[memory]
        near = self.groups.scores(moved.unsqueeze(0), memory)[0]
        groups = near.topk(min(WORD_GROUPS, near.shape[1])).indices.unique()
        some = torch.isin(self.groups.of[memory], groups).nonzero()[:, 0]
        if len(some) == 0:
            return argmax(self.word_scores(words.unsqueeze(0), memory)[0])[1]
        scores = torch.addmm(self.half[memory, 0, some], moved, self.centroids[memory, some].T)
        return some[argmax(scores)[1]]

    def put(self, memory: int, numbers: Tensor, centroids: Tensor) -> None:
        """Gives lists of a memory, int64 [m], these centroids, c - m [m, W]."""
        self.centroids[memory, numbers] = centroids
        self.half[memory, 0, numbers] = centroids.square().sum(1) / -2
        if self._columns is not None:
            self._columns[memory, :, numbers] = centroids.T
        if self.groups is not None:
            self.groups.place(memory, numbers, centroids)

    def give_up(self, memory: int, numbers: Tensor) -> None:
        """Takes lists of a memory, int64 [m], out of use."""
        self.half[memory, 0, numbers] = -torch.inf
        if self.groups is not None:
            for number in numbers.tolist():
                self.groups.take_out(memory, number)

    def alive(self) -> Tensor:
        """Which lists are in use, bool [B, n]."""
        return self.half[:, 0] > -torch.inf

    def add_lists(self, count: int) -> None:
        """Adds so many lists to each memory, which are not in use."""
        self.centroids = functional.pad(self.centroids, (0, 0, 0, count))
        self.half = functional.pad(self.half, (0, count), value=-torch.inf)
        self._columns = None
        if self.groups is not None:
            self.groups.add_lists(count)
        self.regroup()

    def regroup(self) -> None:
        """Makes groups, if there are enough lists, and none that fit them."""
        fits = self.groups is not None and self.groups.changes <= self.lists
        if self.lists >= FROM and self.centroids.device.type == "cpu" and not fits:
            self.groups = Groups.over(self.centroids, self.alive())

    def make_room(self) -> None:
        """Makes room in the groups for lists that a compiled loop puts there."""
        if self.groups is not None:
            self.groups.make_room(int(self.groups.sizes.max()) * 4 // 3)

    def changed(self, changes: int) -> None:
        """Counts lists that a compiled loop has put into other groups."""
        if self.groups is not None:
            self.groups.changes += changes

    def arrays(self) -> CentroidArrays:
        """Kept while they are of the same tensors."""
        if self._columns is None:
            self._columns = self.centroids.transpose(1, 2).contiguous()
        own, groups = (self.centroids, self._columns, self.half, self.center), self.groups
        if groups is not None:
            own += groups.columns, groups.half, groups.of, groups.members, groups.sizes
        key = tuple(map(id, own))
        if self._arrays is None or self._arrays[0] != key:
            self._arrays = key, self._as_arrays(self._columns), own
        return self._arrays[1]

    def _as_arrays(self, columns: Tensor) -> CentroidArrays:
        mine = self.centroids, columns, self.half[:, 0], self.center[:, 0]
        groups = self.groups
        if groups is None:
            none, no_numbers = self.centroids[:, :0], self.half.new_empty(len(self.half), 0).long()
            members = no_numbers.unsqueeze(2).int()
            no_columns = columns[:, :, :0]
            others = none, no_columns, self.half[:, 0, :0], no_numbers, members, no_numbers
        else:
            others = groups.centers, groups.columns, groups.half[:, 0]
            others += groups.of, groups.members, groups.sizes
        return CentroidArrays(*(part.numpy() for part in (*mine, *others)))

    def copied(self, device: torch.device) -> Self:
        other = copy_of(self, device)
        other._arrays = None  # they are of the tensors of this one
        return other
