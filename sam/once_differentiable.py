"""Derivatives of backward passes that are written by hand: refused, or left to the plain form."""

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sam.errors import UnsupportedError
from sam.private_torch import in_forward_mode, in_transform


def once_differentiable(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Marks the backward pass of an autograd function that has no derivative itself.

    The mark of the same name in torch refuses a second derivative only where it is taken through
    the incoming gradients. What comes through the inputs it leaves out without a word, and the sum
    of the others is a wrong number. So a graph of the gradients is refused as such.
    """

    @functools.wraps(backward)
    def marked(ctx: Any, *grads: Any) -> Any:
        if torch.is_grad_enabled():
            raise UnsupportedError(
                "second derivatives: expected a backward pass without create_graph; backward "
                "passes here are written by hand and have no derivative"
            )
        return _in_full_width(backward, ctx, *grads)

    return marked


def twice_differentiable(
    plain: Callable[..., Any], count: int
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Marks a backward pass in whose place autograd differentiates the plain form, where a graph
    of the gradients is asked for: they can be differentiated as often as the plain form can.

    Args:
        plain: the same operation in torch's own; takes the tensors, then `ctx.constants`.
        count: how many tensors the operation has, which are the first that `ctx` saves.
    """

    def mark(backward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(backward)
        def marked(ctx: Any, *grads: Tensor | None) -> Any:
            if not torch.is_grad_enabled():
                return _in_full_width(backward, ctx, *grads)
            return _in_full_width(by_plain, ctx, *grads)

        def by_plain(ctx: Any, *grads: Tensor | None) -> Any:
            constants = getattr(ctx, "constants", ())
            # Views, so that no input is a part of the graph of another one.
            inputs = [tensor.view_as(tensor) for tensor in ctx.saved_tensors[:count]]
            outputs = plain(*inputs, *constants)
            outputs = (outputs,) if isinstance(outputs, Tensor) else outputs
            pairs = [pair for pair in zip(outputs, grads, strict=True) if pair[1] is not None]
            wanted = [place for place in range(count) if ctx.needs_input_grad[place]]
            found: list[Tensor | None] = [None] * (count + len(constants))
            if pairs and wanted:
                results = torch.autograd.grad(
                    [output for output, _ in pairs],
                    [inputs[place] for place in wanted],
                    [grad for _, grad in pairs],
                    create_graph=True,
                    allow_unused=True,
                )
                for place, result in zip(wanted, results, strict=True):
                    found[place] = result
            return tuple(found)

        return marked

    return mark


def _in_full_width(backward: Callable[..., Any], ctx: Any, *grads: Tensor | None) -> Any:
    """A backward pass outside of autocast, as the forward pass was, wherever it is started."""
    for grad in grads:
        if grad is not None:
            if not torch.is_autocast_enabled(grad.device.type):
                break
            with torch.autocast(grad.device.type, enabled=False):
                return backward(ctx, *grads)
    return backward(ctx, *grads)


def direct_apply(function: type[torch.autograd.Function]) -> Callable[..., Any]:
    """`function.apply` for steps: outside of the transforms of `torch.func` without what torch
    does for them, which looks at each argument and takes a tenth of a small step's time."""
    direct = super(torch.autograd.Function, function).apply  # type: ignore[misc]

    def apply(*args: Any) -> Any:
        return function.apply(*args) if in_transform() else direct(*args)

    return apply


def operation(function: type[torch.autograd.Function], plain: Callable[..., Any]) -> Any:
    """What is called: a function with a backward pass by hand, and its plain form where that has no
    part, inside a transform of `torch.func` and in forward mode."""

    def called(*args: Any) -> Any:
        if in_transform() or in_forward_mode():
            return plain(*args)
        return function.apply(*args)

    return called
