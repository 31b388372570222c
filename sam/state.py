"""Methods of every state: `detach`, `clone`, `reset`, `to`, `nbytes`, by walking its fields.

A state is a NamedTuple whose fields are tensors with the batch first, further states, or stateful
objects (a word store, an access order, an index) that know these operations themselves. A state
class takes the functions below into its body as its methods.

A state is *consumed* by a step: buffers are changed in place, so the state that went in must not
be used again. `clone` gives an independent one; a consumed state raises `StaleStateError`.
"""

from typing import Any, TypeVar

import torch
from torch import Tensor

S = TypeVar("S")


def _is_state(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _apply(value: Any, method: str, *args: Any) -> Any:
    """Calls `method` on every field that has it; what has not (None, numbers) stays as it is."""
    if _is_state(value):
        return type(value)(*(_apply(field, method, *args) for field in value))
    function = getattr(value, method, None)
    return value if function is None else function(*args)


def detach(state: S) -> S:
    """Cuts the gradient, for truncated backpropagation through time. Shares all buffers.

    Cost: O(1); nothing is copied.
    """
    return _apply(state, "detach")


def clone(state: S) -> S:
    """An independent copy; the gradient flows back from both.

    Cost: time and bytes of the words touched so far, whatever the memory size.
    """
    return _apply(state, "clone")


def to(state: S, device: torch.device | str) -> S:
    """The state on another device. What is on that device already is shared, not copied."""
    return _apply(state, "to", device)


def nbytes(state: Any) -> int:
    """Bytes held by the state's tensors and buffers."""
    if _is_state(state):
        return sum(nbytes(field) for field in state)
    return getattr(state, "nbytes", 0)


def reset(state: Any, mask: Tensor) -> Any:
    """Puts the batch rows in `mask` back to the zero initial state. Consumes the state.

    Args:
        state: any state.
        mask: rows to reset, bool [B].

    Returns:
        The state to go on with; gradients do not flow across the reset.

    Cost: O(touched words), whatever the memory size.
    """
    if isinstance(state, Tensor):
        rows = mask.view(-1, *[1] * (state.dim() - 1))
        return state.masked_fill(rows, 0)
    if _is_state(state):
        return type(state)(*(reset(field, mask) for field in state))
    function = getattr(state, "reset", None)
    if function is None:
        return state
    renewed = function(mask)
    return state if renewed is None else renewed
