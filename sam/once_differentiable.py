"""First derivatives only: for backward passes that are written by hand."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from sam.errors import UnsupportedError


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
        return backward(ctx, *grads)

    return marked
