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
from torch.autograd.function import once_differentiable

from sam.ops.similarity import EPS, gathered_cosine, softmax
from sam.ops.sparse import sparse_read


def content_read_plain(
    keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """The readable twin of `content_read`: same arguments, same results."""
    values = softmax(gathered_cosine(keys, words) * strengths[:, :, None], valid)
    return sparse_read(words, values), values


def content_forward(
    keys: Tensor, strengths: Tensor, words: Tensor, invalid: Tensor
) -> tuple[Tensor, Tensor, tuple[Tensor, Tensor, Tensor]]:
    """The read itself, without a graph: what was read, the weights, and what the way back needs.

    Shapes as `content_read`, with `invalid` for not `valid`.
    """
    size = words.shape[-1]
    flat = words.view(-1, *words.shape[2:])  # [B H, K, W]
    key = keys.reshape(-1, size, 1)
    # 1 / n(q) and 1 / n(m), [B H, 1, 1] and [B H, K, 1]
    key_scale = torch.bmm(key.transpose(1, 2), key).add_(EPS).rsqrt_()
    scale = (flat * flat).sum(2, keepdim=True).add_(EPS).rsqrt_()
    cosine = torch.bmm(flat, key).mul_(scale).mul_(key_scale)
    invalid = invalid.view(cosine.shape)
    scores = cosine * strengths.reshape(-1, 1, 1)
    scores.masked_fill_(invalid, torch.finfo(scores.dtype).min)
    values = scores.softmax(1).masked_fill_(invalid, 0.0)
    reads = torch.bmm(values.transpose(1, 2), flat)
    return reads.view(keys.shape), values.view(words.shape[:3]), (cosine, scale, key_scale)


def content_backward(
    keys: Tensor,
    strengths: Tensor,
    words: Tensor,
    values: Tensor,
    saved: tuple[Tensor, Tensor, Tensor],
    grad_reads: Tensor,
    grad_values: Tensor | None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of keys, strengths and words from G and g; the equations at the top of the file."""
    cosine, scale, key_scale = saved
    size = words.shape[-1]
    flat, key = words.view(-1, *words.shape[2:]), keys.reshape(-1, 1, size)
    strength, grad = strengths.reshape(-1, 1, 1), grad_reads.reshape(-1, 1, size)
    weight = values.view(cosine.shape)
    inner = torch.bmm(flat, grad.transpose(1, 2))
    if grad_values is not None:
        inner.add_(grad_values.reshape(cosine.shape))
    inner.mul_(weight)  # w_k g_k
    delta = inner.addcmul_(weight, inner.sum(1, keepdim=True), value=-1.0)  # d_k
    grad_strengths = (delta * cosine).sum(1, keepdim=True)
    scaled = (delta * strength).mul_(scale)  # e_k / n(m_k)
    along = (strength * grad_strengths).mul_(key_scale).mul_(key_scale)
    grad_keys = torch.bmm(scaled.transpose(1, 2), flat).mul_(key_scale)
    grad_keys.addcmul_(key, along, value=-1.0)
    weights = torch.cat([weight, scaled * key_scale], 2)  # [B H, K, 2]
    shrink = scaled.mul_(cosine).mul_(scale)
    grad_words = torch.bmm(weights, torch.cat([grad, key], 1))  # with [B H, 2, W]
    grad_words.addcmul_(flat, shrink, value=-1.0)
    return grad_keys.view(keys.shape), grad_strengths.view(strengths.shape), grad_words


class _ContentRead(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
    ) -> tuple[Tensor, Tensor]:
        reads, values, saved = content_forward(keys, strengths, words, ~valid)
        ctx.save_for_backward(keys, strengths, words, values, *saved)
        return reads, values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor, grad_values: Tensor) -> Any:  # type: ignore[override]
        keys, strengths, words, values, *saved = ctx.saved_tensors
        grads = content_backward(
            keys, strengths, words, values, tuple(saved), grad_reads, grad_values
        )
        return grads[0], grads[1], grads[2].view(words.shape), None


def content_read(
    keys: Tensor, strengths: Tensor, words: Tensor, valid: Tensor
) -> tuple[Tensor, Tensor]:
    """Each head reads its own K words by their likeness to its key (SAM paper, eq. 4).

    Args:
        keys: q, [B, H, W].
        strengths: beta, [B, H].
        words: the words at the K slots of each head, contiguous, [B, H, K, W].
        valid: which of them exist, bool [B, H, K]; the others weigh exactly 0.

    Returns:
        The words read [B, H, W] and the weights [B, H, K], which sum to 1 where a word is valid.

    Cost: O(B H K W) time; keeps its inputs and O(B H K) numbers for the backward pass, which can be
    taken once.
    """
    return _ContentRead.apply(keys, strengths, words, valid)  # type: ignore[return-value]
