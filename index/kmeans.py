"""k-means for several memories at once (Lloyd's iterations on a sample)."""

import torch
from torch import Tensor

from index.topk import argmax

# Scores held at a time: so many stay in the cache.
SCORES_AT_ONCE = 2**19


def kmeans(
    sample: Tensor,
    real: Tensor,
    count: int,
    *,
    iterations: int,
    generator: torch.Generator,
    initial: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Centroids of each memory's sample.

        c_j <- mean of the x with argmin_i |x - c_i|^2 = j

    Unless told, it begins with the first words of the sample, and random ones if these are too few.
    Between iterations the centroids of small clusters move to a word of a large one.

    Args:
        sample: [B, S, W], in random order.
        real: false for what is no word, bool [B, S].
        count: n, centroids a memory.
        iterations: at least 1.
        generator: on the CPU.
        initial: centroids to begin with, [B, n, W].

    Returns:
        Centroids [B, n, W], and how many words of the sample were nearest to each, [B, n]: 0 for
        one that stayed where it was, such as the second of two equal ones.

    Cost: O(iterations B S n W).
    """
    batch_size, _, width = sample.shape
    centroids = _first_words(sample, real, count, generator) if initial is None else initial
    first = (torch.arange(batch_size, device=sample.device) * count).unsqueeze(1)
    weights = real.to(sample.dtype)
    counts = weights.new_zeros(batch_size, count)
    for iteration in range(iterations):
        nearest = nearest_centroids(sample, centroids)
        flat = (nearest + first).view(-1)
        sums = sample.new_zeros(batch_size * count, width)
        sums.index_add_(0, flat, (sample * weights.unsqueeze(2)).flatten(0, 1))
        counts = sample.new_zeros(batch_size * count).index_add_(0, flat, weights.view(-1))
        counts = counts.view(batch_size, count, 1)
        means = sums.view_as(centroids) / counts.clamp_min(1)
        centroids = torch.where(counts > 0, means, centroids)
        counts = counts.squeeze(2)
        if iteration < iterations - 1:
            _move_into_large(centroids, counts, sample, nearest.masked_fill(~real, count))
    return centroids, counts


def _first_words(sample: Tensor, real: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """The first words of a sample, and random ones where there are too few."""
    width = sample.shape[2]
    order = real.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :count]
    noise = torch.randn(count, width, generator=generator, dtype=sample.dtype).to(sample.device)
    centroids = (noise * sample.square().mean().sqrt()).repeat(len(sample), 1, 1)
    begin = sample.gather(1, order.unsqueeze(2).expand(-1, -1, width))
    known = real.gather(1, order).unsqueeze(2)
    centroids[:, : begin.shape[1]] = torch.where(known, begin, centroids[:, : begin.shape[1]])
    return centroids


def nearest_centroids(sample: Tensor, centroids: Tensor) -> Tensor:
    """The nearest centroid of each word, int64 [B, S]."""
    half, columns = half_squares(centroids), centroids.transpose(1, 2)
    step = max(1, SCORES_AT_ONCE // half.numel())
    pieces = sample.split(step, 1)
    return torch.cat([argmax(torch.baddbmm(half, words, columns))[1] for words in pieces], 1)


def _move_into_large(centroids: Tensor, counts: Tensor, sample: Tensor, nearest: Tensor) -> None:
    """Moves centroids of small clusters to a word of a large one, which is halved thereby."""
    pairs = counts.shape[1] // 4
    if pairs == 0 or sample.shape[1] == 0:
        return
    width = centroids.shape[2]
    order = counts.argsort(1)
    small, large = order[:, :pairs], order.flip(1)[:, :pairs]
    mean = counts.mean(1, keepdim=True)
    moved = (counts.gather(1, small) < mean / 2) & (counts.gather(1, large) > mean * 1.5)
    # The last word of each cluster in the order of the sample, which is random.
    last = counts.new_zeros(len(counts), counts.shape[1] + 1, dtype=torch.int64)
    at = torch.arange(nearest.shape[1], device=nearest.device).expand_as(nearest)
    last.scatter_reduce_(1, nearest, at, "amax")
    some = sample.gather(1, last.gather(1, large).unsqueeze(2).expand(-1, -1, width))
    small = small.unsqueeze(2).expand(-1, -1, width)
    begin = centroids.gather(1, small)
    centroids.scatter_(1, small, torch.where(moved.unsqueeze(2), some, begin))


def half_squares(centroids: Tensor) -> Tensor:
    """-|c|^2 / 2 as [B, 1, n]: x.c with it added is highest for the nearest centroid."""
    return centroids.square().sum(2).unsqueeze(1) / -2


def masked_mean(words: Tensor, real: Tensor) -> Tensor:
    """The mean of words [B, S, W] where the bool [B, S] is true, [B, 1, W]; 0 without any."""
    real = real.unsqueeze(2)
    return (words * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1)
