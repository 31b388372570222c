"""Content addressing: how alike keys and words are, and weights from it (NTM paper, eq. 5-6).

    D(k, m) = k.m / (n(k) n(m)),   n(v) = sqrt(v.v + eps)
    w(i)    = exp(beta D(k, M(i))) / sum_j exp(beta D(k, M(j)))

The epsilon stands inside both norms, so a zero key or word scores 0 and has finite gradients. At a
zero word they are large, about |k| / (n(k) sqrt(eps)): keep never written words out of the sum.
"""

import torch
from torch import Tensor

from sam.shapes import check_shape

EPS = 1e-6


def _norm(vectors: Tensor, eps: float) -> Tensor:
    return (vectors * vectors).sum(-1).add(eps).sqrt()


def cosine_similarity(keys: Tensor, words: Tensor, eps: float = EPS) -> Tensor:
    """Cosine of every key with every word (NTM paper, eq. 6).

    Args:
        keys: [B, H, W].
        words: [B, N, W].
        eps: added inside each norm, before the root.

    Returns:
        Cosines in (-1, 1), [B, H, N].

    Raises:
        ShapeError: the batch or word sizes disagree.

    Cost: O(H N W) time a batch row; O(H N + N W) bytes kept for the backward pass.
    """
    check_shape("keys", keys, "B H W", {})
    check_shape("words", words, "B N W", {"B": keys.shape[0], "W": keys.shape[2]})
    product = torch.bmm(keys, words.transpose(1, 2))
    return product / (_norm(keys, eps)[:, :, None] * _norm(words, eps)[:, None, :])


def content_weights(
    keys: Tensor, strengths: Tensor, words: Tensor, *, eps: float = EPS, valid: Tensor | None = None
) -> Tensor:
    """Softmax over all words of strength times cosine (NTM paper, eq. 5).

    Args:
        keys: [B, H, W].
        strengths: beta > 0, [B, H].
        words: [B, N, W].
        eps: as in `cosine_similarity`.
        valid: words that take part, bool [B, N]; all of them by default.

    Returns:
        Weights [B, H, N] that sum to 1; zero where no word of a batch row is valid.

    Raises:
        ShapeError: the shapes disagree.

    Cost: as `cosine_similarity`.
    """
    check_shape("strengths", strengths, "B H", {"B": keys.shape[0], "H": keys.shape[1]})
    scores = cosine_similarity(keys, words, eps) * strengths[:, :, None]
    return softmax(scores, None if valid is None else valid[:, None, :])


def softmax(scores: Tensor, valid: Tensor | None) -> Tensor:
    """Softmax over the last dimension, exactly zero where not `valid`, never NaN."""
    if valid is None:
        return scores.softmax(-1)
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~valid, lowest).softmax(-1).masked_fill(~valid, 0.0)


def gathered_cosine(keys: Tensor, words: Tensor, eps: float = EPS) -> Tensor:
    """Cosine of each key with its own K words, [B, H, W] and [B, H, K, W] -> [B, H, K].

    The sparse form of `cosine_similarity`. Cost: O(H K W).
    """
    product = torch.matmul(words, keys[..., None])[..., 0]
    return product / (_norm(keys, eps)[..., None] * _norm(words, eps))


def gathered_distance(keys: Tensor, words: Tensor) -> Tensor:
    """-|q - m|^2 of each key and its own K words, [B, H, W] and [B, H, K, W] -> [B, H, K]."""
    difference = words - keys[..., None, :]
    return -(difference * difference).sum(-1)
