"""DNC's allocation: how much each word is in use, and where to write next (DNC paper, Methods).

    psi(n)   = prod_i (1 - f^i w^{r,i}_{t-1}(n))                        retention
    u_t      = (u_{t-1} + w^w_{t-1} - u_{t-1} o w^w_{t-1}) o psi_t      usage
    a(phi_j) = (1 - u(phi_j)) prod_{i<j} u(phi_i)                       allocation

phi lists the words by ascending usage. The gradient goes through the usages, not through their
order, and not through the write weights. Each op keeps its inputs alone for the backward pass; the
`_plain` forms leave it to autograd, and the tests compare the two.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sam.once_differentiable import operation, twice_differentiable
from sam.shape_checks import check_shapes


def retention_plain(read_weights: Tensor, free_gates: Tensor) -> Tensor:
    """The readable form of `retention`: same arguments, same results."""
    return (1 - free_gates[:, :, None] * read_weights).prod(1)


def _retention_backward(
    read_weights: Tensor, free_gates: Tensor, grad: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of both arguments of `retention`.

    The product of the other heads' factors is built up from both sides: a factor may be zero, so
    psi cannot be divided by it.
    """
    factors = torch.addcmul(
        torch.ones_like(read_weights), read_weights, free_gates[:, :, None], value=-1.0
    )
    heads = factors.unbind(1)
    others = grad.neg()[:, None].repeat(1, len(heads), 1)
    before = after = None
    for place in range(1, len(heads)):
        before = heads[place - 1] if before is None else before * heads[place - 1]
        after = heads[-place] if after is None else after * heads[-place]
        others[:, place].mul_(before)
        others[:, -place - 1].mul_(after)
    grad_gates = (others * read_weights).sum(2)
    return others.mul_(free_gates[:, :, None]), grad_gates


class _Retention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, read_weights: Tensor, free_gates: Tensor) -> Tensor:
        ctx.save_for_backward(read_weights, free_gates)
        return retention_plain(read_weights, free_gates)

    @staticmethod
    @twice_differentiable(retention_plain, 2)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        read_weights, free_gates = ctx.saved_tensors
        return _retention_backward(read_weights, free_gates, grad)


_retention = operation(_Retention, retention_plain)


def retention(read_weights: Tensor, free_gates: Tensor) -> Tensor:
    """psi: how much of each word's usage the free gates leave (DNC paper, Methods).

    Args:
        read_weights: w^r_{t-1}, [B, R, N].
        free_gates: f in [0, 1], [B, R]; 1 frees what the head has read.

    Returns:
        psi in [0, 1], [B, N].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B R N) time; keeps its inputs.
    """
    check_shapes(read_weights=(read_weights, "B R N"), free_gates=(free_gates, "B R"))
    return _retention(read_weights, free_gates)


def _any_write(write_weights: Tensor) -> Tensor:
    """1 - prod(1 - w): several write heads as one, [B, Hw, N] -> [B, N]."""
    if write_weights.shape[1] == 1:
        return write_weights[:, 0]
    return 1 - (1 - write_weights).prod(1)


def dnc_usage_plain(
    usage: Tensor, write_weights: Tensor, read_weights: Tensor, free_gates: Tensor
) -> Tensor:
    """The readable form of `dnc_usage`: same arguments, same results."""
    written = _any_write(write_weights.detach())
    # u + (1 - u) w is u + w - u w, and exactly 1 where u is.
    return (usage + (1 - usage) * written) * retention_plain(read_weights, free_gates)


class _Usage(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, usage: Tensor, write_weights: Tensor, read_weights: Tensor, free_gates: Tensor
    ) -> Tensor:
        ctx.save_for_backward(usage, write_weights, read_weights, free_gates)
        return dnc_usage_plain(usage, write_weights, read_weights, free_gates)

    @staticmethod
    @twice_differentiable(dnc_usage_plain, 4)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        usage, write_weights, read_weights, free_gates = ctx.saved_tensors
        written = _any_write(write_weights)
        kept = retention_plain(read_weights, free_gates)
        after_write = torch.addcmul(usage, 1 - usage, written)
        grads = _retention_backward(read_weights, free_gates, grad * after_write)
        return grad * kept * (1 - written), None, *grads


_usage = operation(_Usage, dnc_usage_plain)


def dnc_usage(
    usage: Tensor, write_weights: Tensor, read_weights: Tensor, free_gates: Tensor
) -> Tensor:
    """How much each word is in use: raised by the last write, lowered by what was freed.

        u_t = (u_{t-1} + w - u_{t-1} o w) o psi_t,   w = 1 - prod_h (1 - w^{w,h}_{t-1})

    (DNC paper, Methods; the product over write heads as in the authors' code.) The write weights
    get no gradient, as in that code: it would reach them through the sort only.

    Args:
        usage: u_{t-1} in [0, 1], [B, N].
        write_weights: w^w_{t-1}, [B, Hw, N].
        read_weights: w^r_{t-1}, [B, R, N].
        free_gates: f in [0, 1], [B, R].

    Returns:
        u_t in [0, 1], [B, N].

    Raises:
        ShapeError: the shapes disagree.

    Cost: O(B (R + Hw) N) time; keeps its inputs.
    """
    check_shapes(
        usage=(usage, "B N"),
        write_weights=(write_weights, "B Hw N"),
        read_weights=(read_weights, "B R N"),
        free_gates=(free_gates, "B R"),
    )
    return _usage(usage, write_weights, read_weights, free_gates)


def _squeezed(usage: Tensor, eps: float) -> Tensor:
    """v = eps + (1 - eps) u; rounding may have left a usage a hair outside [0, 1]."""
    return (usage + eps * (1 - usage)).clamp(eps, 1.0)


def _products_before(factors: Tensor) -> Tensor:
    """prod_{i<j} v_i for each j, [B, N]."""
    return functional.pad(factors, (1, 0), value=1.0).cumprod(1)[:, :-1]


def allocation_weights_plain(usage: Tensor, eps: float = 0.0) -> Tensor:
    """The readable form of `allocation_weights`: same arguments, same results."""
    ordered, order = usage.sort(dim=1, stable=True)
    squeezed = _squeezed(ordered, eps)
    allocation = (1 - squeezed) * _products_before(squeezed)
    return torch.empty_like(usage).scatter(1, order, allocation)


class _Allocation(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, usage: Tensor, eps: float) -> Tensor:
        ordered, order = usage.sort(dim=1, stable=True)
        ctx.save_for_backward(usage, order)
        ctx.constants = (eps,)
        squeezed = _squeezed(ordered, eps)
        allocation = (1 - squeezed) * _products_before(squeezed)
        return torch.empty_like(usage).scatter_(1, order, allocation)

    @staticmethod
    @twice_differentiable(allocation_weights_plain, 1)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        # With v in order, Q_j = prod_{1<i<j} v_i and c_k = sum_{j>=k} g_j (1 - v_j) Q_j:
        #     dv_1 = c_2 - g_1        dv_k = v_1 (c_{k+1} / v_k - g_k Q_k)  for k > 1
        # If v_k is 0 then so is v_1, the least of all, and c_{k+1}: nothing is divided by zero.
        (usage, order), (eps,) = ctx.saved_tensors, ctx.constants
        squeezed, grad = _squeezed(usage.gather(1, order), eps), grad.gather(1, order)
        least, others = squeezed[:, :1], squeezed[:, 1:]
        products, grad_others = _products_before(others), grad[:, 1:]
        # Summed from the far end: later terms are far smaller, a difference would lose them.
        later = (grad_others * (1 - others) * products).flip(1).cumsum(1).flip(1)
        later = functional.pad(later, (0, 1))
        quotient = later[:, 1:] / others.clamp(min=torch.finfo(others.dtype).tiny)
        found_others = quotient.addcmul_(grad_others, products, value=-1.0).mul_(least)
        found = torch.cat([later[:, :1] - grad[:, :1], found_others], 1).mul_(1 - eps)
        return torch.empty_like(usage).scatter_(1, order, found), None


_allocation = operation(_Allocation, allocation_weights_plain)


def allocation_weights(usage: Tensor, eps: float = 0.0) -> Tensor:
    """Where to write: the least used word first, weighted by how free it is (DNC paper, Methods).

        a(phi_j) = (1 - v(phi_j)) prod_{i<j} v(phi_i),   v = eps + (1 - eps) u

    Words of equal usage take the order of their slots. A memory in use everywhere gets no weight.

    Args:
        usage: u in [0, 1], [B, N].
        eps: 0 is the paper's formula. The authors' code squeezes the usages by 1e-6 to keep the
            gradient finite; here it is so without, and a free word takes all of the weight.

    Returns:
        Non-negative weights that sum to at most 1, [B, N].

    Raises:
        ShapeError: `usage` is not [B, N].

    Cost: a sort, O(B N log N) time; keeps the usages and their order, O(B N) bytes.
    """
    check_shapes(usage=(usage, "B N"))
    return _allocation(usage, eps)
