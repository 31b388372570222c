"""Ways to call a model in which its loops and hand-written backward passes cannot take part."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from sam.errors import ShapeError, UnsupportedError
from sam.private_torch import in_forward_mode, in_transform, is_batched, is_traced


def check_values(inputs: Tensor) -> None:
    """Refuses inputs whose numbers cannot be looked at.

    Raises:
        UnsupportedError: the call is exported or traced or inside vmap, or the inputs are on the
            meta device.
    """
    if is_traced():
        raise UnsupportedError(
            "export: expected a call with numbers; a memory is changed in place by loops over time "
            "that follow its content, so no graph of it can be written down"
        )
    if is_batched(inputs):
        raise UnsupportedError(
            "torch.func.vmap: expected a plain call; the batch dimension of the inputs is what "
            "runs many sequences at once"
        )
    if inputs.is_meta and type(inputs) is Tensor:  # a subclass may have numbers all the same
        raise UnsupportedError(
            "inputs: expected numbers, got a tensor on the meta device; model.to_empty(device=...) "
            "and load_state_dict come first"
        )


def check_ordinary(tensor: Tensor) -> None:
    """Refuses a state that was made in inference mode, and is used outside of it.

    Args:
        tensor: of the state, of the last step.

    Raises:
        ShapeError: it is one.
    """
    if tensor.is_inference() and not torch.is_inference_mode_enabled():
        raise ShapeError(
            "state: expected one made outside of torch.inference_mode, as this call is, got one "
            "made inside; its clone() is an ordinary one"
        )


def check_derivatives(memory: Any) -> None:
    """Refuses a call for whose derivatives there is no form.

    Args:
        memory: of the model. One that changes its state in place has no form in a transform, and
            is known by the keyword `active` of its `step`, which it needs.

    Raises:
        UnsupportedError: it is such a memory, inside a transform of `torch.func` or in forward
            mode.
    """
    forward_mode = in_forward_mode()
    if not (forward_mode or in_transform()) or not takes(memory.step, "active"):
        return
    if forward_mode:
        raise UnsupportedError(
            "forward-mode derivatives: expected a backward pass; those of a memory that is changed "
            "in place are written by hand, and there are no others"
        )
    raise UnsupportedError(
        "torch.func: expected a plain call of a memory that is changed in place, got one inside "
        "grad, vmap, jacrev or their like; functional_call works by itself, and gradients come by "
        "backward or torch.autograd.grad"
    )


def takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given this keyword."""
    parameters = inspect.signature(function).parameters
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())
