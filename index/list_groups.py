"""Groups of lists whose centroids are near each other, so that few centroids are compared.

With n lists in some sqrt(n) groups, a word is compared with the centers of the groups, and then
with the centroids of the nearest groups only (two levels, as Quake has; Mohoney et al. 2025).
Queries are compared with all centroids: they look into more lists than a few groups have.
"""

from typing import Any

import torch
from torch import Tensor

from index.kmeans import half_squares, kmeans, nearest_centroids
from index.table_parts import Parts

FROM, LEARN_FROM = 512, 2048  # lists from which groups, and learning in two levels, pay
WORD_GROUPS = 5  # groups that a word is compared with
_ITERATIONS, _LAST_ITERATIONS = 4, 2


def group_count(lists: int) -> int:
    """How many groups there are of so many lists: a power of two near the root."""
    return 1 << round(lists.bit_length() / 2)


class Groups(Parts):
    """Which lists of each memory are in which group.

    Args:
        centers: of the groups, [B, G, W], on the CPU.
        of: the group of each list, -1 for one that is not in use, int64 [B, n].
    """

    def __init__(self, centers: Tensor, of: Tensor) -> None:
        self.centers = centers
        self.columns = centers.transpose(1, 2).contiguous()
        self.half = half_squares(centers)
        self.of = of
        batch_size, count = centers.shape[:2]
        self.sizes = torch.zeros(batch_size, count, dtype=torch.int64)
        used = of >= 0
        self.sizes.scatter_add_(1, of.clamp_min(0), used.long())
        most = max(8, 2 * int(self.sizes.max()))
        self.members = torch.zeros(batch_size, count, most, dtype=torch.int32)
        for memory in range(batch_size):
            mine = used[memory].nonzero()[:, 0]
            mine = mine[of[memory, mine].argsort(stable=True)]
            sizes = self.sizes[memory]
            within = torch.arange(len(mine)) - (sizes.cumsum(0) - sizes)[of[memory, mine]]
            self.members[memory, of[memory, mine], within] = mine.int()
        self.changes = 0  # lists put into groups since

    @classmethod
    def over(cls, centroids: Tensor, alive: Tensor) -> "Groups":
        """Groups of lists with these centroids [B, n, W], those in use by the bool [B, n]."""
        generator = torch.Generator().manual_seed(0)
        given = {"iterations": _ITERATIONS, "generator": generator}
        centers, _ = kmeans(centroids, alive, group_count(centroids.shape[1]), **given)
        return cls(centers, nearest_centroids(centroids, centers).masked_fill(~alive, -1))

    def place(self, memory: int, numbers: Tensor, centroids: Tensor) -> None:
        """Puts lists of a memory, int64 [m] with centroids [m, W], into the nearest groups."""
        near = torch.addmm(self.half[memory], centroids, self.centers[memory].T).argmax(1)
        changed = self.of[memory, numbers] != near
        for number, group in zip(numbers[changed].tolist(), near[changed].tolist(), strict=True):
            self.take_out(memory, number)
            at = int(self.sizes[memory, group])
            self.make_room(at)
            self.members[memory, group, at] = number
            self.sizes[memory, group] = at + 1
            self.of[memory, number] = group
            self.changes += 1

    def make_room(self, size: int) -> None:
        """Makes room for more than so many lists in each group."""
        if size >= self.members.shape[2]:
            self.members = torch.nn.functional.pad(self.members, (0, size))

    def take_out(self, memory: int, number: int) -> None:
        """Takes a list out of its group, if it is in one."""
        group = int(self.of[memory, number])
        if group < 0:
            return
        last = int(self.sizes[memory, group]) - 1
        mine = self.members[memory, group, : last + 1]
        mine[mine == number] = int(mine[last])
        self.sizes[memory, group] = last
        self.of[memory, number] = -1

    def add_lists(self, count: int) -> None:
        """Adds so many lists to each memory, which are in no group."""
        self.of = torch.nn.functional.pad(self.of, (0, count), value=-1)

    def scores(self, vectors: Tensor, memory: int | None = None) -> Tensor:
        """How near vectors [B, M, W] are to the centers, [B, M, G]."""
        centers, half = self.centers, self.half
        if memory is not None:
            centers, half = centers[memory : memory + 1], half[memory : memory + 1]
        return torch.baddbmm(half, vectors, centers.transpose(1, 2))


def in_two_levels(
    sample: Tensor, real: Tensor, count: int, *, iterations: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """`kmeans` for many centroids: of groups first, then in each group as many as its words need.

    At the end a few iterations go over all centroids. Arguments and result are those of `kmeans`,
    on the CPU.

    Cost: O(B S n W), 2 times, O(iterations B S sqrt(n) W), and a loop over memories and groups.
    """
    batch_size, _, width = sample.shape
    many = group_count(count)
    given: Any = {"iterations": iterations, "generator": generator}
    begin = 64 * many  # words that centers are learned from
    centers, _ = kmeans(sample[:, :begin], real[:, :begin], many, **given)
    group = nearest_centroids(sample, centers)
    centroids = sample.new_zeros(batch_size, count, width)
    for memory in range(batch_size):
        mine = group[memory].masked_fill(~real[memory], many)
        sizes = torch.bincount(mine, minlength=many + 1)[:many]
        parts = (sizes * (count / max(1, int(sizes.sum())))).ceil().long()
        first = 0
        for one in range(many):
            words = sample[memory, mine == one].unsqueeze(0)
            wanted = min(int(parts[one]), count - first, words.shape[1])
            if wanted == 0:
                continue
            everything = torch.ones(words.shape[:2], dtype=torch.bool)
            found, _ = kmeans(words, everything, wanted, **given)
            centroids[memory, first : first + wanted] = found
            first += wanted
    given["iterations"] = _LAST_ITERATIONS
    return kmeans(sample, real, count, initial=centroids, **given)
