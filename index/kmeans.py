"""k-means for several memories at once (Lloyd's iterations on a sample)."""

import torch
from torch import Tensor

from index.topk import argmax

# Where a cluster is halved, the second centroid starts this far from the first, relative to its
# length.
_ASIDE = 0.05
# Scores held at a time: so many stay in the cache.
SCORES_AT_ONCE = 2**19


def kmeans(
    sample: Tensor, real: Tensor, count: int, *, iterations: int, generator: torch.Generator
) -> Tensor:
    """Centroids of each memory's sample.

        c_j <- mean of the x with argmin_i |x - c_i|^2 = j

    The first words of the sample are the initial centroids. One that is nearest to no word stays
    where it is. If there are fewer words than centroids, the others are random.

    Args:
        sample: [B, S, W], in random order.
        real: false for what is no word, bool [B, S].
        count: n, centroids a memory.
        iterations: at least 0.
        generator: on the CPU.

    Returns:
        Centroids [B, n, W].

    Cost: O(iterations B S n W).
    """
    batch_size, size, width = sample.shape
    order = real.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    noise = torch.randn(count, width, generator=generator, dtype=sample.dtype).to(sample.device)
    scale = sample.square().mean().sqrt()
    centroids = (noise * scale).repeat(batch_size, 1, 1)
    begin = sample.gather(1, order.unsqueeze(2).expand(-1, -1, width))
    known = real.gather(1, order).unsqueeze(2)
    centroids[:, : begin.shape[1]] = torch.where(known, begin, centroids[:, : begin.shape[1]])
    first = (torch.arange(batch_size, device=sample.device) * count).unsqueeze(1)
    weights = real.to(sample.dtype)
    for iteration in range(iterations):
        sums = sample.new_zeros(batch_size * count, width)
        counts = sample.new_zeros(batch_size * count)
        half = half_squares(centroids)
        columns = centroids.transpose(1, 2)
        step = max(1, SCORES_AT_ONCE // (batch_size * count))
        for start in range(0, size, step):
            words, weight = sample[:, start : start + step], weights[:, start : start + step]
            nearest = (argmax(torch.baddbmm(half, words, columns))[1] + first).view(-1)
            sums.index_add_(0, nearest, (words * weight.unsqueeze(2)).flatten(0, 1))
            counts.index_add_(0, nearest, weight.reshape(-1))
        means = (sums / counts.clamp_min(1).unsqueeze(1)).view_as(centroids)
        centroids = torch.where((counts > 0).view(batch_size, count, 1), means, centroids)
        if iteration < iterations - 1:
            _halve(centroids, counts.view(batch_size, count), noise)
    return centroids


def _halve(centroids: Tensor, counts: Tensor, noise: Tensor) -> None:
    """Moves centroids of small clusters into large ones, which the next iteration halves."""
    pairs = counts.shape[1] // 4
    if pairs == 0:
        return
    order = counts.argsort(1)
    small, large = order[:, :pairs], order.flip(1)[:, :pairs]
    mean = counts.mean(1, keepdim=True)
    moved = (counts.gather(1, small) < mean / 2) & (counts.gather(1, large) > mean * 1.5)
    small, large = (i.unsqueeze(2).expand(-1, -1, centroids.shape[2]) for i in (small, large))
    target, begin = centroids.gather(1, large), centroids.gather(1, small)
    aside = target + _ASIDE * noise[:pairs] * target.square().mean(2, keepdim=True).sqrt()
    centroids.scatter_(1, small, torch.where(moved.unsqueeze(2), aside, begin))


def half_squares(centroids: Tensor) -> Tensor:
    """-|c|^2 / 2 as [B, 1, n]: x.c with it added is highest for the nearest centroid."""
    return centroids.square().sum(2).unsqueeze(1) / -2
