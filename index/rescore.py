"""The k best of the candidates of each query, by exact scores."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from index.metric import Metric

Look = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Rows of candidates, 0 for none, [n, C], and their words [n, C, W], by the numbers of buckets."""
# Numbers of candidate words held at a time, so that they stay in the cache.
_AT_ONCE = 2**20


def best_candidates(
    look: Look,
    numbers: Tensor,
    width: int,
    queries: Tensor,
    k: int,
    *,
    repeats: int,
    metric: Metric,
) -> tuple[Tensor, Tensor]:
    """Compares each query with the words in its own buckets.

    Args:
        look: returns the content of buckets.
        numbers: of the buckets, [B Q, P].
        width: C, candidates in the buckets of a query.
        queries: [B, Q, W], divided by their norms where the metric is cosine, as the words.
        k: at least 1.
        repeats: how often a row may occur among the candidates of a query.
        metric: how a word scores.

    Returns:
        Scores, -inf where there are fewer than k, and rows; both [B, Q, k], best first, no row
        twice.

    Cost: O(B Q C W), of which a piece is held at a time.
    """
    single = queries.reshape(-1, 1, queries.shape[2])
    step = max(1, _AT_ONCE // (width * queries.shape[2]))
    pieces = zip(single.split(step), numbers.split(step), strict=True)
    found = [_compare(piece, *look(some), k, repeats, metric) for piece, some in pieces]
    scores, rows = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
    if k > scores.shape[1]:
        scores = functional.pad(scores, (0, k - scores.shape[1]), value=-torch.inf)
        rows = functional.pad(rows, (0, k - rows.shape[1]))
    shape = *queries.shape[:2], k
    return scores.view(shape), rows.view(shape)


def _compare(
    queries: Tensor, candidates: Tensor, words: Tensor, k: int, repeats: int, metric: Metric
) -> tuple[Tensor, Tensor]:
    """Scores and rows [n, k], or fewer, for queries [n, 1, W] and candidates [n, C]."""
    if metric == "l2":
        scores = (words - queries).square_().sum(2).neg_()
    else:
        scores = torch.bmm(queries, words.transpose(1, 2)).squeeze(1)
    scores.masked_fill_(candidates == 0, -torch.inf)
    best = scores.topk(min(k * repeats, candidates.shape[1]))
    scores, rows = best.values, candidates.gather(1, best.indices)
    if repeats > 1:
        same = (rows.unsqueeze(2) == rows.unsqueeze(1)).tril_(-1)
        best = scores.masked_fill_(same.sum(2) > 0, -torch.inf).topk(min(k, rows.shape[1]))
        scores, rows = best.values, rows.gather(1, best.indices)
    return scores, rows
