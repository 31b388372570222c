"""Content addressing that looks at a part of the words (Csordas and Schmidhuber 2019, 3.1).

    w = softmax_i( beta D(k o m, M(i) o m) )

Every lookup has a mask of its own, so the masked words would be [B, H, N, W]. They are not needed:

    (k o m).(M(i) o m) = (k o m^2).M(i)        |M(i) o m|^2 = (m^2).(M(i)^2)

are two batched products. With s and n_i^2 for these two, n_k for the key's norm, D = s / (n_k n_i),
d the gradient of beta D (that of the softmax) and e = beta d, the backward pass is

    ds_i = e_i / (n_k n_i)     dn_i^2 = -e_i D_i / (2 n_i^2)     dn_k^2 = -sum_i e_i D_i / (2 n_k^2)

and from there through the two products. The cosines are computed again rather than kept.
"""

from typing import Any

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.ops.similarity import EPS
from sam.private_torch import softmax_backward
from sam.shape_checks import check_shapes


def masked_content_weights_plain(
    keys: Tensor, strengths: Tensor, words: Tensor, masks: Tensor, eps: float = EPS
) -> Tensor:
    """The readable form of `masked_content_weights`, over [B, H, N, W]; same results."""
    keys, seen = keys * masks, words[:, None] * masks[:, :, None]
    norms = (seen.square().sum(-1) + eps).sqrt() * (keys.square().sum(-1) + eps).sqrt()[:, :, None]
    product = torch.matmul(seen, keys[..., None])[..., 0]
    return (strengths[:, :, None] * product / norms).softmax(-1)


def _cosines(
    keys: Tensor, words: Tensor, masks: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """D, 1 / n_k and 1 / n_i: [B, H, N], [B, H, 1], [B, H, N]."""
    squares = masks * masks
    key_scale = (keys * keys * squares).sum(2, keepdim=True).add_(eps).rsqrt_()
    scale = torch.bmm(squares, (words * words).transpose(1, 2)).add_(eps).rsqrt_()
    cosine = torch.bmm(keys * squares, words.transpose(1, 2)).mul_(scale).mul_(key_scale)
    return cosine, key_scale, scale


class _MaskedContentWeights(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, strengths: Tensor, words: Tensor, masks: Tensor, eps: float
    ) -> Tensor:
        cosine, _, _ = _cosines(keys, words, masks, eps)
        weights = cosine.mul_(strengths[:, :, None]).softmax(2)
        ctx.save_for_backward(keys, strengths, words, masks, weights)
        ctx.constants = (eps,)
        return weights

    @staticmethod
    @twice_differentiable(masked_content_weights_plain, 4)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        keys, strengths, words, masks, weights = ctx.saved_tensors
        cosine, key_scale, scale = _cosines(keys, words, masks, *ctx.constants)
        squares, squared_words = masks * masks, words * words
        delta = softmax_backward(grad, weights, 2, weights.dtype)
        grad_strengths = (delta * cosine).sum(2)
        delta.mul_(strengths[:, :, None])  # e
        along = delta * cosine
        # -2 dn_k^2 and -2 dn_i^2; the halves meet the twos of the squares' derivatives below.
        key_norm = along.sum(2, keepdim=True).mul_(key_scale).mul_(key_scale)
        norms = along.mul_(scale).mul_(scale)
        product = delta.mul_(scale).mul_(key_scale)  # ds
        inner = torch.bmm(product, words)  # gradient of k o m^2
        grad_keys = torch.addcmul(inner, key_norm, keys, value=-1.0).mul_(squares)
        grad_squares = inner.mul_(keys).mul_(2.0).sub_(torch.bmm(norms, squared_words))
        grad_squares.sub_(key_norm * keys * keys)
        grad_words = torch.bmm(norms.transpose(1, 2), squares).mul_(words).neg_()
        grad_words.baddbmm_(product.transpose(1, 2), keys * squares)
        return grad_keys, grad_strengths, grad_words, grad_squares.mul_(masks), None


_masked_content_weights = operation(_MaskedContentWeights, masked_content_weights_plain)


def masked_content_weights(
    keys: Tensor, strengths: Tensor, words: Tensor, masks: Tensor, eps: float = EPS
) -> Tensor:
    """`content_weights` that sees each component of key and words as far as the mask lets it.

    Args:
        keys: k, [B, H, W].
        strengths: beta > 0, [B, H].
        words: M, [B, N, W].
        masks: m in [0, 1], [B, H, W]; 1 everywhere is the plain lookup.
        eps: as in `cosine_similarity`, after the mask.

    Returns:
        Weights that sum to 1, [B, H, N].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B H N W) time; keeps its inputs and its result.
    """
    check_shapes(
        keys=(keys, "B H W"),
        strengths=(strengths, "B H"),
        words=(words, "B N W"),
        masks=(masks, "B H W"),
    )
    return _masked_content_weights(keys, strengths, words, masks, eps)
