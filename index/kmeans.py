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
        one that stayed where it was, and for the second of two equal ones.

    Cost: O(iterations B S n W).
    """
    batch_size, _, width = sample.shape
    if sample.shape[1] == 0:
        iterations = 0
    centroids = _first_words(sample, real, count, generator) if initial is None else initial
    first = (torch.arange(batch_size, device=sample.device) * count).unsqueeze(1)
    weights = real.to(sample.dtype)
    counts = weights.new_zeros(batch_size, count)
    for iteration in range(iterations):
        nearest = nearest_centroids(sample, centroids)
        last = last_words(sample, nearest.masked_fill(~real, count), count)
        flat = (nearest + first).view(-1)
        # From a word of the cluster on: of equal words the mean is exactly that word.
        apart = (sample - last.flatten(0, 1)[flat].view_as(sample)) * weights.unsqueeze(2)
        sums = sample.new_zeros(batch_size * count, width)
        sums.index_add_(0, flat, apart.flatten(0, 1))
        counts = sample.new_zeros(batch_size * count).index_add_(0, flat, weights.view(-1))
        counts = counts.view(batch_size, count, 1)
        means = last + sums.view_as(centroids) / counts.clamp_min(1)
        centroids = torch.where(counts > 0, means, centroids)
        counts = counts.squeeze(2)
        if iteration < iterations - 1:
            move_into_large(centroids, counts, last)
    return centroids, _counts_of_equal(centroids, counts)


def last_words(sample: Tensor, nearest: Tensor, count: int) -> Tensor:
    """The last word of each cluster in the order of the sample, which is random, [B, n, W].

    Of an empty cluster it is the first word of the sample.
    """
    last = sample.new_zeros(len(sample), count + 1, dtype=torch.int64)
    at = torch.arange(nearest.shape[1], device=nearest.device).expand_as(nearest)
    last.scatter_reduce_(1, nearest, at, "amax")
    return sample.gather(1, last[:, :count].unsqueeze(2).expand(-1, -1, sample.shape[2]))


def _counts_of_equal(centroids: Tensor, counts: Tensor) -> Tensor:
    """Counts [B, n], where the first of several equal centroids has those of all of them.

    A product may round the scores of equal centroids differently, so that both have words.
    """
    bits = (centroids + 0).view(torch.int32 if centroids.element_size() == 4 else torch.int64)
    odd = 2 * torch.arange(bits.shape[2], device=bits.device) + 1
    keys, order = (bits * (odd * 0x61C8864680B583EB)).sum(2).sort(dim=1, stable=True)
    same = torch.zeros_like(keys, dtype=torch.bool)
    rows = centroids.gather(1, order.unsqueeze(2).expand_as(centroids))
    same[:, 1:] = (keys[:, 1:] == keys[:, :-1]) & (rows[:, 1:] == rows[:, :-1]).all(2)
    at = torch.arange(keys.shape[1], device=keys.device)
    leader = order.gather(1, torch.where(same, 0, at).cummax(1).values)
    return torch.zeros_like(counts).scatter_add_(1, leader, counts.gather(1, order))


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
    # One place for all answers: kept one by one they would lie between the scores, whose space the
    # C library could then not use again. It took gigabytes.
    found = torch.empty(sample.shape[:2], dtype=torch.int64, device=sample.device)
    for start in range(0, sample.shape[1], step):
        words = sample[:, start : start + step]
        found[:, start : start + step] = argmax(torch.baddbmm(half, words, columns))[1]
    return found


def move_into_large(centroids: Tensor, counts: Tensor, words: Tensor) -> None:
    """Moves centroids of small clusters to the word of a large one, which is halved thereby."""
    pairs = counts.shape[1] // 4
    if pairs == 0:
        return
    order = counts.argsort(1)
    small, large = order[:, :pairs], order.flip(1)[:, :pairs]
    mean = counts.mean(1, keepdim=True)
    moved = (counts.gather(1, small) < mean / 2) & (counts.gather(1, large) > mean * 1.5)
    some = words.gather(1, large.unsqueeze(2).expand(-1, -1, words.shape[2]))
    small = small.unsqueeze(2).expand(-1, -1, words.shape[2])
    begin = centroids.gather(1, small)
    centroids.scatter_(1, small, torch.where(moved.unsqueeze(2), some, begin))


def half_squares(centroids: Tensor) -> Tensor:
    """-|c|^2 / 2 as [B, 1, n]: x.c with it added is highest for the nearest centroid."""
    return centroids.square().sum(2).unsqueeze(1) / -2


def masked_mean(words: Tensor, real: Tensor) -> Tensor:
    """The mean of words [B, S, W] where the bool [B, S] is true, [B, 1, W]; 0 without any."""
    real = real.unsqueeze(2)
    return (words * real).sum(1, keepdim=True) / real.sum(1, keepdim=True).clamp_min(1)
