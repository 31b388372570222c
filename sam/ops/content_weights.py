"""Content weights alone, from cosines that are known: softmax, and back to keys and words.

    c = softmax_k(beta D_k),   D_k = q.m_k / (n(q) n(m_k))                        (SAM paper, eq. 4)

and back, with g = dL/dc (supplement A.2), as in `sam.ops.content` but for the words that are read:

    d_k = c_k (g_k - sum_j c_j g_j)        e_k = beta d_k        dbeta = sum_k d_k D_k
    dq  = sum_k e_k (m_k / (n(q) n(m_k)) - D_k q / n(q)^2)
    dm_k = e_k (q / (n(q) n(m_k)) - D_k m_k / n(m_k)^2)
"""

import torch
from torch import Tensor

from sam.ops.similarity import EPS

_softmax_backward = torch.ops.aten._softmax_backward_data.default


def content_weights_forward(cosine: Tensor, strengths: Tensor, invalid: Tensor) -> Tensor:
    """The weights c, without a graph.

    Args:
        cosine: D, [B, H, K]; any finite number where a word is invalid.
        strengths: beta, [B, H].
        invalid: words that weigh exactly 0, bool [B, H, K].

    Returns:
        c, [B, H, K], which sums to 1 where a word is valid.
    """
    scores = (cosine * strengths.unsqueeze(2)).masked_fill_(invalid, torch.finfo(cosine.dtype).min)
    return scores.softmax(2).masked_fill_(invalid, 0.0)


def content_weights_backward(
    keys: Tensor, strengths: Tensor, words: Tensor, cosine: Tensor, values: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of keys, strengths and words from g.

    Args:
        keys: q, [B, H, W].
        strengths: beta, [B, H].
        words: m, contiguous, [B, H, K, W].
        cosine: D, [B, H, K].
        values: c, [B, H, K].
        grad: g, [B, H, K].

    Returns:
        Gradients of keys and strengths in their shapes and of the words, [B H, K, W].
    """
    flat, key = words.view(-1, *words.shape[2:]), keys.reshape(-1, 1, words.shape[3])
    strength, cosine = strengths.reshape(-1, 1, 1), cosine.view(*flat.shape[:2], 1)
    key_scale = torch.bmm(key, key.transpose(1, 2)).add_(EPS).rsqrt_()  # 1 / n(q)
    scale = (flat * flat).sum(2, keepdim=True).add_(EPS).rsqrt_()  # 1 / n(m_k)
    delta = _softmax_backward(grad, values, 2, values.dtype).view(cosine.shape)  # d_k
    grad_strengths = (delta * cosine).sum(1, keepdim=True)
    scaled = (delta * strength).mul_(scale)  # e_k / n(m_k)
    along = (strength * grad_strengths).mul_(key_scale).mul_(key_scale)
    grad_keys = torch.bmm(scaled.transpose(1, 2), flat).mul_(key_scale)
    grad_keys.addcmul_(key, along, value=-1.0)
    grad_words = (scaled * key_scale) * key
    grad_words.addcmul_(flat, scaled.mul_(cosine).mul_(scale), value=-1.0)
    return grad_keys.view(keys.shape), grad_strengths.view(strengths.shape), grad_words
