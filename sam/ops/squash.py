"""Squashing a controller's output into named controls, all fields in one op.

The derivative of every activation follows from its output y alone, so only the outputs are kept:

    sigmoid y (1 - y)      tanh 1 - y^2      softplus 1 - e^-y      oneplus 1 - e^(1 - y)
"""

import math
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

Activation = Literal["none", "sigmoid", "oneplus", "softplus", "softmax", "tanh"]
Layout = tuple[tuple[tuple[int, ...], Activation], ...]
"""Shape without the batch, and activation, of each field in order."""


def oneplus(values: Tensor) -> Tensor:
    """1 + log(1 + e^x), at least 1 (DNC paper, Methods)."""
    return functional.softplus(values) + 1


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda values: values,
    "sigmoid": torch.sigmoid,
    "oneplus": oneplus,
    "softplus": functional.softplus,
    "softmax": lambda values: values.softmax(-1),
    "tanh": torch.tanh,
}

_BACKWARD: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "none": lambda grad, _: grad,
    "sigmoid": torch.ops.aten.sigmoid_backward.default,
    "oneplus": lambda grad, out: torch.addcmul(grad, grad, (1 - out).exp_(), value=-1.0),
    "softplus": lambda grad, out: grad * -torch.expm1(-out),
    "softmax": lambda grad, out: torch.ops.aten._softmax_backward_data.default(
        grad, out, -1, out.dtype
    ),
    "tanh": torch.ops.aten.tanh_backward.default,
}


def squash_plain(values: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """The readable twin of `squash`: same arguments, same results."""
    parts = values.split([math.prod(shape) for shape, _ in layout], -1)
    return tuple(
        ACTIVATIONS[activation](part.unflatten(-1, shape))
        for part, (shape, activation) in zip(parts, layout, strict=True)
    )


class _Squash(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, layout: Layout) -> tuple[Tensor, ...]:
        sizes = [math.prod(shape) for shape, _ in layout]
        # A copy even without an activation: an output must not share memory with the input.
        parts = values.clone().split(sizes, 1)
        outputs = tuple(
            ACTIVATIONS[activation](part.view(part.shape[0], *shape))
            for part, (shape, activation) in zip(parts, layout, strict=True)
        )
        ctx.layout = layout
        ctx.save_for_backward(
            *(out for out, (_, name) in zip(outputs, layout, strict=True) if name != "none")
        )
        return outputs

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> Any:  # type: ignore[override]
        saved = iter(ctx.saved_tensors)
        parts = [
            (grad if name == "none" else _BACKWARD[name](grad, next(saved))).flatten(1)
            for grad, (_, name) in zip(grads, ctx.layout, strict=True)
        ]
        return torch.cat(parts, 1), None


def squash(values: Tensor, layout: Layout) -> tuple[Tensor, ...]:
    """Cuts `values` into fields and squashes each.

    Args:
        values: the interface vector p_t, [B, P].
        layout: shape and activation of each field; the shapes' products add up to P. A softmax runs
            over the field's last dimension.

    Returns:
        The fields, each [B, *shape].

    Cost: O(B P); keeps the squashed fields for the backward pass, which can be taken once.
    """
    return _Squash.apply(values, layout)  # type: ignore[return-value]
