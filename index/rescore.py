"""The k best of some candidates for each query, by their true words."""

import torch
from torch import Tensor
from torch.nn import functional

from index.config import Metric

# Numbers of candidate words gathered at a time: more would not stay in the cache.
_GATHERED = 2**20


def best_candidates(
    words: Tensor, candidates: Tensor, queries: Tensor, k: int, *, repeats: int, metric: Metric
) -> tuple[Tensor, Tensor]:
    """Compares queries with candidates of their own.

    Args:
        words: of all memories, [n, W], divided by their norms where the metric is cosine.
        candidates: rows of `words`, 0 for none, integers [B, Q, C].
        queries: [B, Q, W], divided by their norms where the metric is cosine.
        k: at least 1.
        repeats: how often a row may come in a query's candidates.
        metric: how a word scores.

    Returns:
        Scores, -inf where there are fewer than k, and rows; both [B, Q, k], best first, no row
        twice.

    Cost: O(B Q C W), of which a piece is held at a time.
    """
    shape, flat = (*queries.shape[:2], k), candidates.flatten(0, 1)
    width = flat.shape[1]
    single = queries.reshape(-1, 1, queries.shape[2])
    step = max(1, _GATHERED // (width * queries.shape[2]))
    pieces = zip(single.split(step), flat.split(step), strict=True)
    found = [_compare(words, *piece, k, repeats, metric) for piece in pieces]
    scores, rows = found[0] if len(found) == 1 else map(torch.cat, zip(*found, strict=True))
    if k > scores.shape[1]:
        scores = functional.pad(scores, (0, k - scores.shape[1]), value=-torch.inf)
        rows = functional.pad(rows, (0, k - rows.shape[1]))
    return scores.view(shape), rows.view(shape)


def _compare(
    words: Tensor, queries: Tensor, candidates: Tensor, k: int, repeats: int, metric: Metric
) -> tuple[Tensor, Tensor]:
    """Scores and rows [n, k], or fewer, for queries [n, 1, W] and candidates [n, C]."""
    gathered = functional.embedding(candidates, words)
    if metric == "l2":
        scores = (gathered - queries).square_().sum(2).neg_()
    else:
        scores = torch.bmm(queries, gathered.transpose(1, 2)).squeeze(1)
    scores.masked_fill_(candidates == 0, -torch.inf)
    best = scores.topk(min(k * repeats, candidates.shape[1]))
    scores, rows = best.values, candidates.gather(1, best.indices)
    if repeats > 1:
        same = (rows.unsqueeze(2) == rows.unsqueeze(1)).tril_(-1)
        best = scores.masked_fill_(same.sum(2) > 0, -torch.inf).topk(min(k, rows.shape[1]))
        scores, rows = best.values, rows.gather(1, best.indices)
    return scores, rows
