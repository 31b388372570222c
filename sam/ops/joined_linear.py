"""A linear layer of two inputs side by side, without a copy of both.

    y = W [h ; r] + b = W_h h + W_r r + b

The readable form is `plain_joined_linear`; the other one is a single node of autograd, whose
backward pass makes the gradient of W in place: .6 of the time that autograd takes for 400 rows.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sam.once_differentiable import operation, twice_differentiable


def plain_joined_linear(
    hidden: Tensor, reads: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """y, [..., O].

    Args:
        hidden: h, [..., C].
        reads: r, [..., R].
        weight: W, [O, C + R].
        bias: b, [O], or None.
    """
    left, right = weight.split([hidden.shape[-1], reads.shape[-1]], 1)
    return functional.linear(hidden, left, bias) + functional.linear(reads, right)


class _JoinedLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, reads: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        ctx.save_for_backward(hidden, reads, weight, bias)
        width = hidden.shape[-1]
        left, right = weight[:, :width].t(), weight[:, width:].t()
        # No view of another tensor, which torch would not let anybody change in place.
        result = hidden.new_empty(*hidden.shape[:-1], len(bias))
        by_row = result.view(-1, len(bias))
        torch.addmm(bias, hidden.flatten(0, -2), left, out=by_row)
        by_row.addmm_(reads.flatten(0, -2), right)
        return result

    @staticmethod
    @twice_differentiable(plain_joined_linear, 4)
    def backward(ctx: Any, grad: Tensor) -> Any:  # type: ignore[override]
        hidden, reads, weight, _ = ctx.saved_tensors
        width, by_row = hidden.shape[-1], grad.reshape(-1, grad.shape[-1])
        parts = (hidden, slice(None, width)), (reads, slice(width, None))
        needed, found = ctx.needs_input_grad, []
        for wanted, (given, columns) in zip(needed[:2], parts, strict=True):
            product = torch.mm(by_row, weight[:, columns]).view_as(given) if wanted else None
            found.append(product)
        grad_weight = None
        if needed[2]:
            grad_weight = torch.empty_like(weight, memory_format=torch.contiguous_format)
            for given, columns in parts:
                torch.mm(by_row.t(), given.flatten(0, -2), out=grad_weight[:, columns])
        return *found, grad_weight, by_row.sum(0) if needed[3] else None


_joined = operation(_JoinedLinear, plain_joined_linear)


def joined_linear(hidden: Tensor, reads: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """As `plain_joined_linear`, which it is without a bias and under autocast."""
    if bias is None or torch.is_autocast_enabled(hidden.device.type):
        return plain_joined_linear(hidden, reads, weight, bias)
    return _joined(hidden, reads, weight, bias)
