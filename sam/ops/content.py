"""Reading by content: cosine, softmax and weighted sum over each head's own K words, in one op.

    D_k = q.m_k / (n(q) n(m_k)),   w = softmax_k(beta D),   r = sum_k w_k m_k     (SAM paper, eq. 4)

and back, with G = dL/dr and g = dL/dw (supplement A.2):

    g_k  += G.m_k                d_k = w_k (g_k - sum_j w_j g_j)        e_k = beta d_k
    dbeta = sum_k d_k D_k        dq  = sum_k e_k (m_k / (n(q) n(m_k)) - D_k q / n(q)^2)
    dm_k  = w_k G + e_k (q / (n(q) n(m_k)) - D_k m_k / n(m_k)^2)

`content_read_plain` is the same by autograd; the tests compare the two.
"""

from typing import Any

import torch
from torch import Tensor

from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS, gathered_cosine, softmax
from sam.ops.sparse import sparse_read
from sam.private_torch import softmax_backward


def content_read_plain(
    keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """The readable form of `content_read`: same arguments, same results."""
    values = softmax(gathered_cosine(keys, words) * strengths[:, :, None], valid)
    return sparse_read(words, values), values


def _scales(key: Tensor, flat: Tensor) -> tuple[Tensor, Tensor]:
    """1 / n(q) and 1 / n(m) of keys [B H, 1, W] and words [B H, K, W]: [B H, 1, 1], [B H, K, 1]."""
    key_scale = torch.bmm(key, key.transpose(1, 2)).add_(EPS).rsqrt_()
    return key_scale, (flat * flat).sum(2, keepdim=True).add_(EPS).rsqrt_()


def content_forward(
    cosine: Tensor, strengths: Tensor, words: Tensor, invalid: Tensor
) -> tuple[Tensor, Tensor]:
    """What is read and the weights, from cosines that are known; without a graph.

    Args:
        cosine: D, [B, H, K]; any finite number where a word is invalid.
        strengths: beta, [B, H].
        words: contiguous, [B, H, K, W].
        invalid: words that weigh exactly 0, bool [B, H, K].

    Returns:
        What is read [B, H, W] and the weights [B, H, K].
    """
    scores = (cosine * strengths.unsqueeze(2)).masked_fill_(invalid, torch.finfo(cosine.dtype).min)
    values = scores.softmax(2).masked_fill_(invalid, 0.0)
    batch_size, heads, count, size = words.shape
    flat = words.view(batch_size * heads, count, size)
    reads = torch.bmm(values.view(batch_size * heads, 1, count), flat)
    return reads.view(batch_size, heads, size), values


def content_backward(
    keys: Tensor,
    strengths: Tensor,
    words: Tensor,
    cosine: Tensor,
    values: Tensor,
    grad_reads: Tensor,
    grad_values: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of keys, strengths and words from G and g; the equations at the top of the file.

    Returns those of keys and strengths in their shapes, of the words [B H, K, W].
    """
    flat, key = words.view(-1, *words.shape[2:]), keys.reshape(-1, 1, words.shape[3])
    grad = grad_reads.reshape(key.shape)
    inner = torch.bmm(flat, grad.transpose(1, 2)).view(values.shape)
    if grad_values is not None:
        inner.add_(grad_values)
    strength, cosine = strengths.reshape(-1, 1, 1), cosine.view(*flat.shape[:2], 1)
    key_scale, scale = _scales(key, flat)
    delta = softmax_backward(inner, values, 2, values.dtype).view(cosine.shape)  # d_k
    grad_strengths = (delta * cosine).sum(1, keepdim=True)
    scaled = (delta * strength).mul_(scale)  # e_k / n(m_k)
    along = (strength * grad_strengths).mul_(key_scale).mul_(key_scale)
    grad_keys = torch.bmm(scaled.transpose(1, 2), flat).mul_(key_scale)
    grad_keys.addcmul_(key, along, value=-1.0)
    grad_words = (scaled * key_scale) * key
    grad_words.addcmul_(flat, scaled.mul_(cosine).mul_(scale), value=-1.0)
    grad_words.addcmul_(values.view(cosine.shape), grad)
    return grad_keys.view(keys.shape), grad_strengths.view(strengths.shape), grad_words


class _ContentRead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        flat, key = words.view(-1, *words.shape[2:]), keys.reshape(-1, 1, keys.shape[2])
        key_scale, scale = _scales(key, flat)
        cosine = torch.bmm(flat, key.transpose(1, 2)).mul_(scale).mul_(key_scale)
        cosine = cosine.view(words.shape[:3])
        reads, values = content_forward(cosine, strengths, words, ~valid)
        ctx.save_for_backward(keys, strengths, words, cosine, values)
        return reads, values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor, grad_values: Tensor) -> Any:  # type: ignore[override]
        keys, strengths, words, cosine, values = ctx.saved_tensors
        grad_keys, grad_strengths, grad_words = content_backward(
            keys, strengths, words, cosine, values, grad_reads, grad_values
        )
        return grad_keys, grad_strengths, grad_words.view(words.shape), None


def content_read(
    keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Each head reads its own K words by their likeness to its key (SAM paper, eq. 4).

    Args:
        keys: q, [B, H, W].
        strengths: beta, [B, H].
        words: the words at the K slots of each head, [B, H, K, W].
        valid: which of them exist, bool [B, H, K]; the others weigh exactly 0.

    Returns:
        The words read [B, H, W] and the weights [B, H, K], which sum to 1 where a word is valid.

    Cost: O(B H K W) time; keeps its inputs and O(B H K) numbers for the backward pass, which can be
    taken once.
    """
    return _ContentRead.apply(keys, strengths, words.contiguous(), valid)  # type: ignore[return-value]
