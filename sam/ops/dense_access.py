"""One step of DAM over all N words: write, then read by content, in one op.

    w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I)        M_t = (1 - I 1^T) o M_{t-1} + w^W a^T
    w^R = softmax(beta D(q, M_t))                        r   = w^R M_t         (SAM paper, eq. 1-5)

and back. The gradient of M_t is one matrix product over 2 H heads, then one pass for the norms:

    dM_t = G + [w^R ; e / (n(q) n(M))]^T [dr ; q] - (sum_h e_h D_h / n(M)^2) o M_t
    dw^W = a dM_t^T        da = w^W dM_t        dM_{t-1} = (1 - I 1^T) o dM_t

with G from the next step and e as in `sam.ops.similarity`. Op by op, autograd would make a gradient
of the size of the words for the read, the cosines, the norms and the erase each, and add them up.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.ops.dense import read_words
from sam.ops.dense_write import (
    dense_write_plain,
    dense_write_weights_plain,
    write_forward,
    write_weights_forward,
)
from sam.ops.similarity import (
    ContentParts,
    content_backward,
    content_forward,
    content_weights_plain,
)
from sam.shape_checks import check_shapes


class DenseAccess(NamedTuple):
    """What a step of `dense_access` gives."""

    reads: Tensor  # r, [B, H, W]
    read_weights: Tensor  # w^R_t, [B, H, N]
    write_weights: Tensor  # w^W_t, [B, V, N]
    words: Tensor  # M_t, [B, N, W]


def dense_access_plain(
    words: Tensor,
    before: Tensor,
    new: Tensor,
    alpha: Tensor,
    gamma: Tensor,
    add: Tensor,
    keys: Tensor,
    strengths: Tensor,
) -> DenseAccess:
    """The readable form of `dense_access`: same arguments, same results."""
    write = dense_write_weights_plain(before, alpha, gamma, new)
    words = dense_write_plain(words, write, add, erase=new)
    read = content_weights_plain(keys, strengths, words)
    return DenseAccess(read_words(words, read), read, write, words)


class _DenseAccess(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, words: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        before, new, alpha, gamma, add, keys, strengths = inputs
        ctx.set_materialize_grads(False)
        write = write_weights_forward(before, alpha, gamma, new)
        before_write, words = words, write_forward(words, write, add, new)
        parts = content_forward(keys, strengths, words)
        ctx.save_for_backward(before_write, *inputs, write, words, *parts)
        return torch.bmm(parts.weights, words), parts.weights, write, words

    @staticmethod
    @twice_differentiable(dense_access_plain, 8)
    def backward(  # type: ignore[override]
        ctx: Any,
        grad_reads: Tensor | None,
        grad_read: Tensor | None,
        grad_write: Tensor | None,
        grad_words: Tensor | None,
    ) -> Any:
        _, before, new, alpha, gamma, add, keys, strengths, write, words, *kept = ctx.saved_tensors
        parts = ContentParts(*kept)
        if grad_reads is None:
            grad_reads = torch.zeros_like(keys)
        inner = torch.bmm(grad_reads, words.transpose(1, 2))
        if grad_read is not None:
            inner.add_(grad_read)
        content = content_backward(keys, strengths, words, parts, inner)
        weights = torch.cat([parts.weights, content.spread], 1).transpose(1, 2)
        vectors = torch.cat([grad_reads, content.toward], 1)
        if grad_words is None:
            grad = torch.bmm(weights, vectors)
        else:
            grad = torch.baddbmm(grad_words, weights, vectors)
        grad.addcmul_(words, content.along, value=-1.0)

        inner = torch.bmm(add, grad.transpose(1, 2))
        if grad_write is not None:
            inner.add_(grad_write)
        fresh = inner.gather(2, new.unsqueeze(2)).squeeze(2)
        spread = (inner * before).sum(2).sub_(fresh)
        grad_add = torch.bmm(write, grad)
        grad.scatter_(1, new.unsqueeze(2).expand(-1, -1, grad.shape[2]), 0.0)
        return (
            grad,
            inner.mul_((alpha * gamma).unsqueeze(2)),
            None,
            torch.addcmul(fresh, spread, gamma),
            spread * alpha,
            grad_add,
            content.keys,
            content.strengths,
        )


_dense_access = operation(_DenseAccess, dense_access_plain)


def dense_access(
    words: Tensor,
    before: Tensor,
    new: Tensor,
    alpha: Tensor,
    gamma: Tensor,
    add: Tensor,
    keys: Tensor,
    strengths: Tensor,
) -> DenseAccess:
    """Writes to all words by weight, then reads all of them by their likeness to the keys.

    Args:
        words: M_{t-1}, [B, N, W]. It stays as it was.
        before: w^R_{t-1} of each write head, [B, V, N].
        new: slots to set to zero and write, one a write head, int64 [B, V].
        alpha: write gate, [B, V].
        gamma: interpolation gate, [B, V].
        add: a, [B, V, W].
        keys: q, [B, H, W].
        strengths: beta, [B, H].

    Returns:
        Reads, weights and M_t; see `DenseAccess`.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O((H + V) N W) time a batch row and one new copy of the words. Keeps that copy, the
        weights, the cosines and N numbers for the backward pass.
    """
    check_shapes(
        {"V": new.shape[-1]},
        keys=(keys, "B H W"),
        words=(words, "B N W"),
        strengths=(strengths, "B H"),
        before=(before, "B V N"),
        add=(add, "B V W"),
        new=(new, "B V"),
        alpha=(alpha, "B V"),
        gamma=(gamma, "B V"),
    )
    return DenseAccess(*_dense_access(words, before, new, alpha, gamma, add, keys, strengths))
