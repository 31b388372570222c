"""Recall: how much of what exact search finds an approximate one finds too."""

import torch
from torch import Tensor

from index.errors import ShapeError
from index.neighbors import Neighbors


def recall_at_k(
    found: Neighbors, exact: Neighbors, k: int | None = None, *, eps: float = 1e-6
) -> Tensor:
    """Share of the k best that were found, per query, by score and with ties counted as hits.

        recall = |{found slots with score >= s_n - eps s}| / n,   n = min(k, words that exist)

    s_n is the n-th best exact score and s the largest |s_i| of the n best, so the lengths of the
    words make no difference. Any of several equal words is as good as another.

    Args:
        found: what is judged, [B, Q, >= k]; scores exact for its slots, as every index returns.
        exact: what an exact search with at least as many words returns, [B, Q, >= k].
        k: how many of the best to look at; all columns of `found` unless told.
        eps: rounding allowed, relative to s.

    Returns:
        Recall in [0, 1], [B, Q] in the dtype of the exact scores; 1 where no word exists.

    Raises:
        ShapeError: the two are not for the same queries, or hold fewer than k columns.
        ValueError: k is below 1.

    Cost: O(B Q k^2).
    """
    k = found.slots.shape[-1] if k is None else k
    if k < 1:
        raise ValueError(f"k: expected at least 1, got {k}")
    for name, given in (("found", found), ("exact", exact)):
        batch = exact.slots.shape[:-1]
        if given.slots.shape[:-1] != batch or given.slots.shape[-1] < k:
            shape = ", ".join(str(size) for size in (*batch, f">= {k}"))
            raise ShapeError(f"{name}: expected shape [{shape}], got {[*given.slots.shape]}")
    slots, scores = found.slots[..., :k], found.scores[..., :k]
    existing = (exact.slots[..., :k] >= 0).sum(-1)
    # Best first, so the n-th best stands at n - 1; where nothing exists the value is not used.
    worst = exact.scores.gather(-1, (existing - 1).clamp_min(0).unsqueeze(-1))
    scale = exact.scores[..., :k].abs().masked_fill(exact.slots[..., :k] < 0, 0.0)
    bar = worst - eps * scale.amax(-1, keepdim=True)
    again = (slots.unsqueeze(-1) == slots.unsqueeze(-2)).tril(-1).any(-1)
    # A slot of the n best counts however its score was rounded.
    best = (slots.unsqueeze(-1) == exact.slots[..., :k].unsqueeze(-2)).any(-1)
    hits = ((slots >= 0) & ~again & (best | (scores >= bar))).sum(-1)
    share = hits.to(exact.scores.dtype) / existing.clamp_min(1)
    return torch.where(existing > 0, share.clamp_max(1), torch.ones_like(share))
