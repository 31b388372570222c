"""What a caller gives, as tensors, and what is found, as the caller gave it.

An index computes with tensors. NumPy arrays and lists of slots become tensors here, and answers
become arrays again. Whether there is a batch dimension is a matter of `index.checks`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.errors import ShapeError
from index.neighbors import Neighbors

Vectors = Tensor | np.ndarray
"""Words or queries."""
Slots = Tensor | np.ndarray | Sequence[int] | Sequence[Sequence[int]]
"""Numbers of slots."""

_MOST_INT64 = torch.iinfo(torch.int64).max


def vectors_of(name: str, given: Any, device: torch.device) -> Tensor:
    """Words or queries as a tensor, of the shape and the dtype that were given.

    Args:
        name: the argument's name, for the message.
        given: a tensor, which is returned as it is, or a NumPy array of real numbers. A tensor
            shares the memory of an array that can be written to, and else gets a copy.
        device: where a tensor made from an array goes.

    Raises:
        TypeError: neither a tensor nor an array.
        ShapeError: an array of something else, such as bools or text.
    """
    if isinstance(given, Tensor):
        return given
    if not isinstance(given, np.ndarray):
        what = f"{name}: expected a tensor or a NumPy array"
        raise TypeError(f"{what}, got {type(given).__name__}")
    return _tensor(name, given, "iuf", "numbers").to(device)


def slots_of(given: Any, device: torch.device) -> Tensor:
    """Slots as a tensor; besides tensors and arrays also lists of integers are taken.

    Raises:
        TypeError: none of these.
        ShapeError: an array or a list of something else, or a list whose rows differ in length.
    """
    if isinstance(given, Tensor):
        return given
    if isinstance(given, list | tuple | range):
        given = _from_list("slots", given, np.dtype(np.int64))
    if not isinstance(given, np.ndarray):
        what = "slots: expected a tensor, a NumPy array or a list of integers"
        raise TypeError(f"{what}, got {type(given).__name__}")
    return _tensor("slots", given, "iu", "an integer dtype").to(device)


def rows_of(given: Any, device: torch.device) -> Tensor:
    """Flags of memories as a tensor; besides tensors and arrays also lists are taken.

    Raises:
        TypeError: none of these.
        ShapeError: an array or a list of something else than bools.
    """
    if isinstance(given, Tensor):
        return given
    if isinstance(given, list | tuple):
        given = _from_list("rows", given, np.dtype(np.bool_))
    if not isinstance(given, np.ndarray):
        what = "rows: expected a tensor, a NumPy array or a list of bools"
        raise TypeError(f"{what}, got {type(given).__name__}")
    return _tensor("rows", given, "b", "bool").to(device)


def as_int64(slots: Tensor) -> Tensor:
    """Integers as int64; what is too large for it becomes the largest there is."""
    if slots.dtype == torch.uint64:
        signed = slots.view(torch.int64)
        return signed.masked_fill(signed < 0, _MOST_INT64)
    return slots if slots.dtype == torch.int64 else slots.long()


def as_given(found: Neighbors, queries: Vectors, batched: bool) -> Neighbors:
    """What was found for queries [B, Q, W], in the form in which they were given.

    Args:
        found: slots and scores, [B, Q, k].
        queries: the argument of the caller. For an array the answer is made of arrays.
        batched: whether the queries had a batch dimension; without one the answer is [Q, k], and
            [k] for a single query [W].
    """
    if not batched:
        found = Neighbors(*(part[0] for part in found))
        if queries.ndim == 1:
            found = Neighbors(*(part[0] for part in found))
    if isinstance(queries, Tensor):
        return found
    arrays: Any = (part.cpu().numpy() for part in found)
    return Neighbors(*arrays)


def _from_list(name: str, given: Sequence[Any], empty: np.dtype) -> np.ndarray:
    try:
        array = np.asarray(given)
    except (ValueError, TypeError, OverflowError) as error:
        raise ShapeError(f"{name}: expected rows of one length, got {error}") from None
    return array if array.size else array.astype(empty)


def _tensor(name: str, array: np.ndarray, kinds: str, expected: str) -> Tensor:
    """A tensor of an array whose dtype is of one of these kinds."""
    if isinstance(array, np.ma.MaskedArray):
        raise ShapeError(f"{name}: expected an array without a mask, got a masked one")
    if array.dtype.kind not in kinds:
        raise ShapeError(f"{name}: expected {expected}, got an array of {array.dtype}")
    array = np.asarray(array)  # not a subclass, such as a memory-mapped array
    # Torch has no numbers of more than 8 bytes, and of types with equal numbers it knows one.
    dtype = np.dtype(f"{array.dtype.kind}{min(array.itemsize, 8)}")
    steps = (step < 0 or step % array.itemsize for step in array.strides)
    same = dtype == array.dtype and dtype.num == array.dtype.num
    if not (same and array.flags.writeable and array.flags.aligned) or any(steps):
        with np.errstate(over="ignore"):  # an infinite number is refused later
            array = array.astype(dtype, order="C")  # always a copy
    return torch.from_numpy(array)
