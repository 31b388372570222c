"""Methods of every state: `detach`, `clone`, `reset`, `to`, `nbytes`, by walking its fields.

A state is a NamedTuple whose fields are tensors with the batch first, further states or plain
tuples of them, or stateful objects (a word store, an access order, an index) that know these
operations themselves. A state class takes the functions below into its body as its methods, or
writes its own: a field that has the method is left to it.

A state is *consumed* by a step: buffers are changed in place, so the state that went in must not
be used again. `clone` gives an independent one; a consumed state raises `StaleStateError`.
"""

import copy
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.row_numbers import row_mask
from sam.shape_checks import check_rows

S = TypeVar("S")


def _rebuilt(value: tuple[Any, ...], fields: Iterable[Any]) -> Any:
    """The state or plain tuple `value` with other fields."""
    return type(value)(*fields) if hasattr(value, "_fields") else type(value)(fields)


def _apply(value: Any, method: str, *args: Any) -> Any:
    """Calls `method` on a field that has it; what has not (None, numbers) stays as it is."""
    function = getattr(value, method, None)
    if function is not None:
        return function(*args)
    return _on_fields(value, method, *args) if isinstance(value, tuple) else value


def _on_fields(state: Any, method: str, *args: Any) -> Any:
    return _rebuilt(state, (_apply(field, method, *args) for field in state))


def detach(state: S) -> S:
    """Cuts the gradient, for truncated backpropagation through time. Shares all buffers.

    Cost: O(1); nothing is copied.
    """
    return _on_fields(state, "detach")


def clone(state: S) -> S:
    """An independent copy; the gradient flows back from both.

    Cost: time and bytes of the words touched so far, whatever the memory size.
    """
    return _on_fields(state, "clone")


def deepcopied(state: S, memo: dict[int, Any]) -> S:
    """What `copy.deepcopy` gives: an independent copy, without a graph.

    Raises:
        ConfigError: the state has one; a copy of it would need one too.
    """
    if _has_graph(state):
        raise ConfigError(
            "state: expected one without a graph to copy deeply, got one that gradients flow "
            "through; copy state.detach(), or take state.clone(), which keeps the graph"
        )
    return _rebuilt(state, (copy.deepcopy(field, memo) for field in state))  # type: ignore[arg-type]


def _has_graph(part: Any) -> bool:
    if isinstance(part, Tensor):
        return part.grad_fn is not None
    return isinstance(part, tuple) and any(map(_has_graph, part))


def to(state: S, device: torch.device | str) -> S:
    """The state on another device. What is on that device already is shared, not copied."""
    device = torch.empty(0, device=device).device  # "cuda" is "cuda:0" for all parts alike
    return _on_fields(state, "to", device)


def nbytes(state: Any) -> int:
    """Bytes held by the state's tensors and buffers."""
    return sum(
        nbytes(field) if isinstance(field, tuple) else getattr(field, "nbytes", 0)
        for field in state
    )


def reset(state: Any, mask: Any, start: Any = None) -> Any:
    """Puts the batch rows in `mask` back to the initial state. Consumes the state.

    A part whose class has a `reset` of its own is left to it. The others become zero, or what
    `start` holds, so a state with another beginning, such as a learned one, needs one of the two.

    Args:
        state: any state.
        mask: rows to reset, bool [B]; a tensor, an array or a list.
        start: an initial state of the same structure, such as `model.initial_state(B)`.

    Returns:
        The state to go on with; gradients do not flow across the reset, but they flow to `start`.

    Raises:
        ShapeError: the mask is not bool [B] on the state's device; then nothing has changed.

    Cost: O(touched words), whatever the memory size.
    """
    mask = row_mask(mask, device_of(state))
    _check_mask(state, mask)
    return _reset_fields(state, mask, start)


def device_of(state: Any) -> torch.device:
    """Where the tensors of a state are, by the first of them; the CPU if it has none."""
    return next((tensor.device for tensor in _tensors(state)), torch.device("cpu"))


def _tensors(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for field in part:
            yield from _tensors(field)


def resets_itself(state: Any) -> bool:
    """Whether the class of a state has a `reset` of its own."""
    return getattr(type(state), "reset", reset) is not reset


def _check_mask(state: Any, mask: Tensor) -> None:
    """Checks that a mask fits all tensors of a state, and what in it has batch rows otherwise."""
    for field in state:
        if isinstance(field, Tensor):
            check_rows("mask", mask, len(field) if field.dim() else 0, field.device)
        elif isinstance(field, tuple):
            if getattr(field, "has_rows", True):
                _check_mask(field, mask)
        elif hasattr(field, "reset") and hasattr(field, "batch_size"):
            check_rows("mask", mask, field.batch_size, getattr(field, "device", mask.device))


def _reset_fields(state: Any, mask: Tensor, start: Any) -> Any:
    starts = [None] * len(state) if start is None else start
    pairs = zip(state, starts, strict=True)
    return _rebuilt(state, (_reset_field(field, mask, initial) for field, initial in pairs))


def _reset_field(field: Any, mask: Tensor, start: Any) -> Any:
    if isinstance(field, Tensor):
        rows = mask.view(-1, *[1] * (field.dim() - 1))
        if start is None:
            return field.masked_fill(rows, 0)
        return torch.where(rows, start.to(field.dtype), field)
    if isinstance(field, tuple) and not resets_itself(field):
        return _reset_fields(field, mask, start)
    function = getattr(field, "reset", None)
    if function is None:
        return field
    renewed = function(mask)
    return field if renewed is None else renewed


def where(mask: Tensor, state: S, other: S) -> S:
    """Takes the batch rows in `mask`, bool [B], from one state, the rest from another.

    Both are states of the same kind, made of tensors; what is no tensor is taken from `state`.

    Raises:
        ConfigError: there is something in it that changes in place, such as a word store.
    """
    if isinstance(state, Tensor):
        chosen = mask.view(-1, *[1] * (state.dim() - 1))
        return torch.where(chosen, state, other)  # type: ignore[call-overload]
    if isinstance(state, tuple):
        pairs = zip(state, other, strict=True)  # type: ignore[arg-type]
        return _rebuilt(state, (where(mask, *pair) for pair in pairs))
    if hasattr(state, "reset"):
        raise ConfigError(
            "state: expected tensors, of which the batch rows that have ended can be kept, got a "
            f"{type(state).__name__}; let the memory's step take the keyword active"
        )
    return state


def grown(tensor: Tensor, memory_size: int, dim: int, *, fill: float = 0.0) -> Tensor:
    """A tensor over N slots with more slots; what is new is `fill`. For `resize` of dense states.

    Args:
        tensor: any, with N slots along `dim`.
        memory_size: how many it shall have, at least N.
        dim: the dimension of the slots.
        fill: what the new slots hold.

    Raises:
        ConfigError: there are fewer: words would be lost.
    """
    slots = tensor.shape[dim]
    if memory_size < slots:
        raise ConfigError(
            f"memory_size: expected at least the {slots} words of this state, got {memory_size}"
        )
    shape = list(tensor.shape)
    shape[dim] = memory_size - slots
    return torch.cat([tensor, tensor.new_full(shape, fill)], dim)
