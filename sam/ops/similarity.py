"""Content addressing: how alike keys and words are, and weights from it (NTM paper, eq. 5-6).

    D(k, m) = k.m / (n(k) n(m)),   n(v) = sqrt(v.v + eps)
    w(i)    = exp(beta D(k, M(i))) / sum_j exp(beta D(k, M(j)))

and back, with g = dL/dw:

    d(i)  = w(i) (g(i) - sum_j w(j) g(j))        e(i) = beta d(i)
    dbeta = sum_i d(i) D(i)       dk = sum_i e(i) (M(i) / (n(k) n(M(i))) - D(i) k / n(k)^2)
    dM(i) = sum_h e_h(i) (k_h / (n(k_h) n(M(i))) - D_h(i) M(i) / n(M(i))^2)

The epsilon stands inside both norms, so a zero key or word scores 0 and has finite gradients. At a
zero word they are large, about |k| / (n(k) sqrt(eps)): keep never written words out of the sum.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.private_torch import softmax_backward
from sam.shape_checks import check_shapes

# That of the models; their index gets it as `IndexConfig.norm_eps`.
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
    check_shapes(keys=(keys, "B H W"), words=(words, "B N W"))
    product = torch.bmm(keys, words.transpose(1, 2))
    return product / (_norm(keys, eps)[:, :, None] * _norm(words, eps)[:, None, :])


def content_weights_plain(
    keys: Tensor, strengths: Tensor, words: Tensor, *, eps: float = EPS, valid: Tensor | None = None
) -> Tensor:
    """The readable form of `content_weights`: same arguments, same results."""
    check_shapes(keys=(keys, "B H W"), words=(words, "B N W"), strengths=(strengths, "B H"))
    scores = cosine_similarity(keys, words, eps) * strengths[:, :, None]
    return softmax(scores, None if valid is None else valid[:, None, :])


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

    Cost: O(H N W) time a batch row; keeps its inputs, the weights it returns, the cosines and N
        numbers for the backward pass. Of the size of the words it makes
        nothing but their gradient.
    """
    check_shapes(keys=(keys, "B H W"), words=(words, "B N W"), strengths=(strengths, "B H"))
    return _content_weights(keys, strengths, words, eps, valid)


def _inverse_norm(vectors: Tensor, eps: float) -> Tensor:
    """1 / n(v), without a product as large as the vectors."""
    return torch.linalg.vector_norm(vectors, dim=-1).square_().add_(eps).rsqrt_()


class ContentParts(NamedTuple):
    """What `content_weights` knows besides its inputs; its backward pass needs all of it."""

    weights: Tensor  # w, [B, H, N]
    cosine: Tensor  # D, [B, H, N]
    key_scale: Tensor  # 1 / n(k), [B, H]
    scale: Tensor  # 1 / n(M), [B, N]


def content_forward(
    keys: Tensor, strengths: Tensor, words: Tensor, eps: float = EPS, valid: Tensor | None = None
) -> ContentParts:
    """`content_weights` without a graph."""
    key_scale, scale = _inverse_norm(keys, eps), _inverse_norm(words, eps)
    cosine = torch.bmm(keys * key_scale.unsqueeze(2), words.transpose(1, 2))
    cosine.mul_(scale.unsqueeze(1))
    scores = cosine * strengths.unsqueeze(2)
    weights = softmax(scores, None if valid is None else valid.unsqueeze(1))
    return ContentParts(weights, cosine, key_scale, scale)


class ContentGradients(NamedTuple):
    """Gradients of `content_weights`, that of the words in parts: spread^T toward - along o M."""

    keys: Tensor  # [B, H, W]
    strengths: Tensor  # [B, H]
    spread: Tensor  # [B, H, N]
    toward: Tensor  # [B, H, W]
    along: Tensor  # [B, N, 1]

    def words_of(self, words: Tensor) -> Tensor:
        """The gradient of the words M, [B, N, W]."""
        grad = torch.bmm(self.spread.transpose(1, 2), self.toward)
        return grad.addcmul_(words, self.along, value=-1.0)


def content_backward(
    keys: Tensor, strengths: Tensor, words: Tensor, parts: ContentParts, grad: Tensor
) -> ContentGradients:
    """Gradients of keys, strengths and words from g; the equations at the top of the file."""
    weights, cosine, key_scale, scale = parts
    delta = softmax_backward(grad, weights, 2, weights.dtype)  # d
    turned = delta * cosine  # d D
    grad_strengths = turned.sum(2)
    along = torch.bmm(turned.transpose(1, 2), strengths.unsqueeze(2))
    along.mul_((scale * scale).unsqueeze(2))
    delta.mul_(scale.unsqueeze(1))
    factor = (strengths * key_scale).unsqueeze(2)
    turn = (strengths * grad_strengths * key_scale * key_scale).unsqueeze(2)
    grad_keys = torch.bmm(delta, words).mul_(factor).addcmul_(keys, turn, value=-1.0)
    return ContentGradients(grad_keys, grad_strengths, delta, keys * factor, along)


def _plain_weights(
    keys: Tensor, strengths: Tensor, words: Tensor, eps: float, valid: Tensor | None
) -> Tensor:
    return content_weights_plain(keys, strengths, words, eps=eps, valid=valid)


class _ContentWeights(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, strengths: Tensor, words: Tensor, eps: float, valid: Tensor | None
    ) -> Tensor:
        parts = content_forward(keys, strengths, words, eps, valid)
        ctx.save_for_backward(keys, strengths, words, *parts)
        ctx.constants = eps, valid
        return parts.weights

    @staticmethod
    @twice_differentiable(_plain_weights, 3)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        keys, strengths, words, *parts = ctx.saved_tensors
        found = content_backward(keys, strengths, words, ContentParts(*parts), grad)
        grad_words = found.words_of(words) if ctx.needs_input_grad[2] else None
        return found.keys, found.strengths, grad_words, None, None


_content_weights = operation(_ContentWeights, _plain_weights)


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
