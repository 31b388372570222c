"""DNC's temporal links: which word was written after which (DNC paper, Methods).

    L_t(i,j) = (1 - w(i) - w(j)) L_{t-1}(i,j) + w(i) p_{t-1}(j),   L_t(i,i) = 0
    p_t      = (1 - sum_n w(n)) p_{t-1} + w
    f        = L_t w^r_{t-1},   b = L_t^T w^r_{t-1}

with w the write weights of step t. L(i,j) near 1 says that word i was written right after word j.

With G = dL/d(L_t), its diagonal zeroed, the backward pass is

    dL_{t-1}(i,j) = (1 - w(i) - w(j)) G(i,j),   dp = G^T w
    dw(i)         = sum_j G(i,j) (p(j) - L_{t-1}(i,j)) - sum_j G(j,i) L_{t-1}(j,i)

The links are the one thing in the library that is quadratic in N. A step keeps one [N, N] matrix:
`directional_weights` keeps L_t, and `update_links` keeps the same L_t as its input a step later.
The `_plain` forms leave the backward pass to autograd.
"""

from typing import Any

import torch
from torch import Tensor

from sam.once_differentiable import operation, twice_differentiable
from sam.shape_checks import check_shapes

EPS = 1e-6


def _check_links(links: Tensor, **others: tuple[Tensor, str]) -> None:
    """Raises ShapeError unless the other tensors fit the links; given with the last dimensions."""
    batch = "B V" if links.dim() == 4 else "B"
    expected = {name: (tensor, f"{batch} {last}") for name, (tensor, last) in others.items()}
    check_shapes({"N": links.shape[-1]}, links=(links, f"{batch} N N"), **expected)


def update_links_plain(links: Tensor, precedence: Tensor, write_weights: Tensor) -> Tensor:
    """The readable form of `update_links`: same arguments, same results."""
    to, since = write_weights[..., :, None], write_weights[..., None, :]
    updated = (1 - to - since) * links + to * precedence[..., None, :]
    return updated * (1 - torch.eye(links.shape[-1], device=links.device, dtype=links.dtype))


def _zero_diagonal(matrix: Tensor) -> Tensor:
    matrix.diagonal(dim1=-2, dim2=-1).zero_()
    return matrix


class _UpdateLinks(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, links: Tensor, precedence: Tensor, write_weights: Tensor) -> Tensor:
        ctx.save_for_backward(links, precedence, write_weights)
        # L + w(i) (p(j) - L), then - w(j) L: two passes over the matrix.
        updated = torch.lerp(links, precedence[..., None, :], write_weights[..., :, None])
        updated.addcmul_(links, write_weights[..., None, :], value=-1.0)
        return _zero_diagonal(updated)

    @staticmethod
    @twice_differentiable(update_links_plain, 3)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        links, precedence, write_weights = ctx.saved_tensors
        to, since = write_weights[..., :, None], write_weights[..., None, :]
        # `grad` is not ours to change, so its diagonal is taken off each result instead.
        diagonal = grad.diagonal(dim1=-2, dim2=-1)
        grad_precedence = torch.matmul(since, grad)[..., 0, :]
        grad_precedence.addcmul_(diagonal, write_weights, value=-1.0)
        matrix = _zero_diagonal(grad * links)
        grad_weights = torch.matmul(grad, precedence[..., :, None])[..., 0]
        grad_weights.addcmul_(diagonal, precedence, value=-1.0)
        grad_weights.sub_(matrix.sum(-1)).sub_(matrix.sum(-2))
        grad_links = None
        if ctx.needs_input_grad[0]:
            grad_links = _zero_diagonal(torch.sub(1 - to, since, out=matrix).mul_(grad))
        return grad_links, grad_precedence, grad_weights


_update_links = operation(_UpdateLinks, update_links_plain)


def update_links(links: Tensor, precedence: Tensor, write_weights: Tensor) -> Tensor:
    """The links after a write (DNC paper, Methods); the equations are at the top of the file.

    Args:
        links: L_{t-1}, [B, N, N], or [B, V, N, N] for V write heads that have links of their own;
            the others then have the same dimension V.
        precedence: p_{t-1}, [B, N], of the step before: update it after the links.
        write_weights: w^w_t, [B, N].

    Returns:
        L_t in [0, 1], of the shape of the links: zero diagonal, rows and columns sum to at most 1.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B V N^2) time; keeps its inputs, the links included.
    """
    _check_links(links, precedence=(precedence, "N"), write_weights=(write_weights, "N"))
    return _update_links(links, precedence, write_weights)


def update_precedence(precedence: Tensor, write_weights: Tensor) -> Tensor:
    """p_t = (1 - sum_n w(n)) p_{t-1} + w: how much each word was the last written (DNC paper).

    Args:
        precedence: p_{t-1}, [..., N].
        write_weights: w^w_t, of the same shape.

    Returns:
        p_t, of the same shape; sums to at most 1.

    Cost: O(N) a row; keeps the precedence.
    """
    left = 1 - write_weights.sum(-1, keepdim=True)
    return torch.addcmul(write_weights, left, precedence)


def directional_weights_plain(links: Tensor, read_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The readable form of `directional_weights`: same arguments, same results."""
    return torch.matmul(read_weights, links.mT), torch.matmul(read_weights, links)


class _DirectionalWeights(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, links: Tensor, read_weights: Tensor) -> tuple[Tensor, Tensor]:
        ctx.save_for_backward(links, read_weights)
        return directional_weights_plain(links, read_weights)

    @staticmethod
    @twice_differentiable(directional_weights_plain, 2)
    def backward(ctx: Any, grad_forward: Tensor, grad_backward: Tensor) -> Any:  # type: ignore[override]
        links, read_weights = ctx.saved_tensors
        # dL = sum_i df^i w^i^T + w^i db^i^T, in one pass over the matrix.
        left = torch.cat([grad_forward, read_weights], -2)
        right = torch.cat([read_weights, grad_backward], -2)
        grad_reads = torch.matmul(grad_forward, links) + torch.matmul(grad_backward, links.mT)
        return torch.matmul(left.mT, right), grad_reads


_directional_weights = operation(_DirectionalWeights, directional_weights_plain)


def directional_weights(links: Tensor, read_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Where reading goes on: to what was written after the last reads, or before (DNC paper).

    Args:
        links: L_t, [B, N, N], or [B, V, N, N] for V write heads that have links of their own.
        read_weights: w^r_{t-1}, [B, R, N]; [B, V, R, N] for such links.

    Returns:
        Forward weights f = L_t w^r and backward weights b = L_t^T w^r, of the shape of the read
        weights.

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B V R N^2) time; keeps its inputs, the links included.
    """
    _check_links(links, read_weights=(read_weights, "R N"))
    return _directional_weights(links, read_weights)


def sharpened(weights: Tensor, sharpness: Tensor, eps: float = EPS) -> Tensor:
    """A distribution raised to a power (Csordas and Schmidhuber 2019, eq. 2).

        S(d, s)_i = ((d_i + eps) / max(d + eps))^s / sum_j ((d_j + eps) / max(d + eps))^s

    The quotient of powers is a softmax of logarithms; the maximum cancels. Without any weight the
    result is uniform, not zero. The epsilon is that of the authors' code.

    Args:
        weights: d, non-negative, [..., N].
        sharpness: s >= 1, [...].
        eps: as above.

    Returns:
        Weights that sum to 1, [..., N].

    Cost: O(N) a row; keeps about four numbers a weight.
    """
    return (sharpness[..., None] * (weights.clamp(min=0.0) + eps).log()).softmax(-1)
