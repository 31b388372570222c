"""Batch rows of states: picked, joined, and put in the place of others, by walking the fields.

Tensors have the batch first, and numbers and text are the same for all rows. A stateful object (a
word store, an access order, an index) knows these operations itself:

    rows(picked)        an independent object of some rows; picked is int64 [n]
    cat(objects)        an independent object of the rows of several, a static method
    put(picked, other)  puts the rows of another in the place of some; returns the object to go on
                        with, or None if it has changed in place
    row_kind            what two must have in common for that, by name; raises if it was consumed
    batch_size          B

So does a state whose class has such methods. What lies over time, such as a trace, has
``has_rows = False``; its rows can be picked if it says how, and it is dropped from what is joined.
A journal is of all rows: what is picked from its state has none.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from sam.errors import ConfigError, ShapeError
from sam.row_numbers import row_numbers
from sam.state import device_of

S = TypeVar("S")

_PLAIN = (bool, int, float, str, type(None), torch.dtype)


def rows(state: S, picked: Any) -> S:
    """An independent state of some batch rows; the gradient flows back from both.

    Args:
        state: any state; it stays good.
        picked: which rows, in which order: integers, negative ones from the end, any of them
            repeatedly; or bool [B]; or a slice, or one integer. A tensor, an array or a list.

    Returns:
        A state of as many rows, which may be none. A trace has these rows only.

    Raises:
        ShapeError: `picked` is none such, or out of range.
        StaleStateError: the state was consumed.

    Cost: time and bytes of the words that these rows have touched, whatever the memory size. An
    index with lists learns them anew when it is next used.
    """
    return _picked(state, picked_rows(picked, state))


def cat(states: Sequence[S]) -> S:
    """An independent state of the batch rows of several, one after another, as `torch.cat`.

    Args:
        states: of one model, or of models with equal settings; they stay good, and gradients flow
            back to all of them. Traces are dropped.

    Raises:
        ShapeError: there are none, or they differ in more than their batch sizes.
        StaleStateError: one of them was consumed.

    Cost: as `rows`; all rows get as much space as the one with the most words needs.
    """
    if hasattr(states, "_fields"):
        raise ShapeError(f"states: expected a list of them, got one {type(states).__name__}")
    parts = list(states)
    if not parts:
        raise ShapeError("states: expected at least one, got none")
    for place, part in enumerate(parts):
        name = f"states[{place}]"
        _check_batch(part, name, batch_size(part, name))
        check_alike(name, parts[0], part)
    return _joined(parts)


def put(state: S, picked: Any, other: S) -> S:
    """The state with the rows of another one in the place of some of its own. Consumes the state.

    Args:
        state: any state.
        picked: which rows, each once; see `rows`.
        other: as many rows, for these places in their order. It stays good and independent.

    Returns:
        The state to go on with. Gradients flow from the rows that were put to `other`, from the
        rest to the past of `state`. A trace is dropped.

    Raises:
        ShapeError: `picked` is none such, or `other` has another number of rows, or differs in
            something else; then nothing has changed.
        StaleStateError: one of the two was consumed.

    Cost: O(touched words) of the rows that change, and O(B) for each part that is no memory.
    """
    places = picked_rows(picked, state)
    if len(places.unique()) < len(places):
        raise ShapeError(f"rows: expected each row once, got {places.tolist()}")
    given = batch_size(other, "other")
    if given != len(places):
        raise ShapeError(f"other: expected {len(places)} batch rows to put, got {given}")
    _check_batch(other, "other", given)
    check_alike("other", state, other)
    return _with_rows(state, places, other)


def batch_size(state: Any, name: str = "state") -> int:
    """B, by the first part that has rows.

    Raises:
        ShapeError: it is no state, or nothing in it has any.
    """
    if isinstance(state, tuple):
        for _, leaf in _leaves(state, ""):
            if isinstance(leaf, Tensor):
                if leaf.dim():
                    return len(leaf)
            elif hasattr(leaf, "batch_size"):
                return leaf.batch_size
    raise ShapeError(f"{name}: expected a state with batch rows, got {type(state).__name__}")


def item(state: Any, key: Any) -> Any:
    """`state[key]`: the field of this number, as of any tuple; rows for all that is no number."""
    if isinstance(key, int | np.integer):
        return tuple.__getitem__(state, key)
    return rows(state, key)


def picked_rows(picked: Any, state: Any) -> Tensor:
    """Batch rows of a state, as int64 [n] on its device; see `row_numbers` for what is taken.

    Raises:
        ShapeError: they are none, or parts of the state have other batch sizes.
    """
    size = batch_size(state)
    _check_batch(state, "state", size)
    return row_numbers(picked, size).to(device_of(state))


def check_alike(name: str, first: Any, other: Any) -> None:
    """Raises ShapeError unless a state has what another has, but for the batch size."""
    if _over_time(first) or _over_time(other):
        return
    if type(first) is not type(other):
        raise ShapeError(
            f"{name}: expected {type(first).__name__} as in the other state, "
            f"got {type(other).__name__}"
        )
    if isinstance(first, tuple):
        if len(first) != len(other):
            raise ShapeError(f"{name}: expected {len(first)} parts, got {len(other)}")
        for (part, mine), theirs in zip(_named(first), other, strict=True):
            check_alike(f"{name}.{part}", mine, theirs)
        return
    theirs = _kind(other)
    for what, wanted in _kind(first).items():
        found = theirs[what]
        if found != wanted:
            hint = "; resize() makes a memory larger" if what == "memory_size" else ""
            raise ShapeError(
                f"{name}: expected {what} {wanted} as in the other state, got {found}{hint}"
            )


def _kind(leaf: Any) -> dict[str, Any]:
    """What two parts must have in common, to be parts of one state."""
    if isinstance(leaf, Tensor):
        shape = [*leaf.shape[1:]]
        return {"shape without the batch": shape, "dtype": leaf.dtype, "device": leaf.device}
    return {"value": leaf} if isinstance(leaf, _PLAIN) else leaf.row_kind


def _over_time(value: Any) -> bool:
    """Whether a part has no batch first, such as a trace, or may have been one."""
    return value is None or not getattr(value, "has_rows", True)


def _named(state: tuple[Any, ...]) -> Iterator[tuple[str, Any]]:
    names = getattr(state, "_fields", None) or map(str, range(len(state)))
    return zip(names, state, strict=True)


def _leaves(state: tuple[Any, ...], prefix: str) -> Iterator[tuple[str, Any]]:
    """What a state is made of, by dotted name, without what lies over time."""
    for part, value in _named(state):
        if _over_time(value):
            continue
        if isinstance(value, tuple):
            yield from _leaves(value, f"{prefix}.{part}")
        else:
            yield f"{prefix}.{part}", value


def _check_batch(state: Any, name: str, size: int) -> None:
    """Raises unless all parts have B rows, and know what to do with them."""
    for part, leaf in _leaves(state, name):
        if isinstance(leaf, Tensor):
            found = len(leaf) if leaf.dim() else 0
        elif isinstance(leaf, _PLAIN):
            continue
        elif _method(leaf, "rows") is None or not hasattr(type(leaf), "row_kind"):
            raise ConfigError(
                f"{part}: expected tensors, numbers, or an object with the methods rows, cat and "
                f"put and the property row_kind, got a {type(leaf).__name__}"
            )
        else:
            found = leaf.batch_size
        if found != size:
            raise ShapeError(f"{part}: expected batch size B={size}, got {found}")


def _method(value: Any, name: str) -> Callable[..., Any] | None:
    """The method of a value's class; a field of that name is none."""
    return getattr(value, name) if callable(getattr(type(value), name, None)) else None


def _rebuilt(value: tuple[Any, ...], fields: Iterator[Any]) -> Any:
    return type(value)(*fields) if hasattr(value, "_fields") else type(value)(fields)


def _picked(state: Any, places: Tensor) -> Any:
    return _rebuilt(state, (_picked_field(field, places) for field in state))


def _picked_field(value: Any, places: Tensor) -> Any:
    if isinstance(value, Tensor):
        return value.index_select(0, places)
    own = _method(value, "rows")
    if own is not None:
        return own(places)
    return _picked(value, places) if isinstance(value, tuple) else value


def _joined(states: Sequence[Any]) -> Any:
    fields = zip(*states, strict=True)
    return _rebuilt(states[0], (_joined_fields(values) for values in fields))


def _joined_fields(values: Sequence[Any]) -> Any:
    first = values[0]
    if _over_time(first):
        return None
    if isinstance(first, Tensor):
        return torch.cat([*values])
    own = _method(first, "cat")
    if own is not None:
        return own(values)
    return _joined(values) if isinstance(first, tuple) else first


def _with_rows(state: Any, places: Tensor, other: Any) -> Any:
    pairs = zip(state, other, strict=True)
    return _rebuilt(state, (_field_with_rows(field, places, new) for field, new in pairs))


def _field_with_rows(value: Any, places: Tensor, other: Any) -> Any:
    if _over_time(value):
        return None
    if isinstance(value, Tensor):
        return value.index_copy(0, places, other)
    own = _method(value, "put")
    if own is not None:
        renewed = own(places, other)
        return value if renewed is None else renewed
    return _with_rows(value, places, other) if isinstance(value, tuple) else value
