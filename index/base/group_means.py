"""Steps of k-means for the lists of a base: the centers of groups, and means of their lists."""

import torch
from torch import Tensor

from index.kmeans import kmeans, last_words, move_into_large

FROM = 512  # lists from which there are groups
_SAMPLE, _ITERATIONS = 64, 5  # words that a center is learned from


def group_count(lists: int) -> int:
    """Groups of so many lists: a power of two near four times the root, or one."""
    return 1 if lists < FROM else 4 << lists.bit_length() // 2


def group_centers(sample: Tensor, lists: int, generator: torch.Generator) -> Tensor:
    """Centers of the groups of so many lists, of words [m, W] in random order, [G, W]."""
    some = sample[: _SAMPLE * group_count(lists)]
    real = torch.ones(1, len(some), dtype=torch.bool)
    given = {"iterations": _ITERATIONS, "generator": generator}
    centers, counts = kmeans(some[None], real, group_count(lists), **given)
    return centers[0][counts[0] > 0]


def moved_centroids(
    sample: Tensor, homes: Tensor, centroids: Tensor, *, into_large: bool
) -> Tensor:
    """The means of the words in each list, or where the centroid [n, W] was if there are none.

    Args:
        sample: words [m, W] in random order.
        homes: the list of each, int64 [m].
        centroids: [n, W].
        into_large: move those of few words to a word of a list with many.
    """
    count = len(centroids)
    last = last_words(sample[None], homes[None], count)
    sums = torch.zeros_like(centroids).index_add_(0, homes, sample - last[0][homes])
    counts = torch.bincount(homes, minlength=count)
    means = last[0] + sums / counts.clamp_min(1).unsqueeze(1)
    means = torch.where(counts.unsqueeze(1) > 0, means, centroids)
    if into_large:
        move_into_large(means[None], counts[None].float(), last)
    return means
