"""Which batch rows are meant, however they are named."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam.errors import ShapeError


def row_numbers(picked: Any, size: int) -> Tensor:
    """Batch rows as int64 [n], in [0, B).

    Args:
        picked: integers in [-B, B) or bool [B], a tensor, an array or a list; one integer; or a
            slice.
        size: B.

    Raises:
        ShapeError: saying what was expected and what was given.
    """
    expected = f"rows: expected bool [B={size}], integers in [-{size}, {size}), or a slice"
    if isinstance(picked, slice):
        found = torch.arange(size)[_forward(picked, size)]
    else:
        found = _as_tensor(picked, expected)
    if found.dtype == torch.bool:
        if found.shape != (size,):
            raise ShapeError(f"{expected}, got bool {[*found.shape]}")
        found = found.nonzero()[:, 0]
    if found.dim() != 1:
        raise ShapeError(f"{expected}, got shape {[*found.shape]}")
    if len(found):
        low, high = (int(value) for value in found.aminmax())
        if low < -size or high >= size:
            raise ShapeError(f"{expected}, got {low if low < -size else high}")
    found = found.long()
    return torch.where(found < 0, found + size, found)


def row_mask(mask: Any, device: torch.device) -> Tensor:
    """Batch rows as a mask: a tensor as it is given, bools of an array or a list on a device.

    Raises:
        ShapeError: it is none of them. The shape, and what a tensor is made of, is not looked at.
    """
    if isinstance(mask, Tensor):
        return mask
    if isinstance(mask, list | tuple | np.ndarray):
        numbers = np.asarray(mask) if len(mask) else np.zeros(0, bool)
        if numbers.dtype == bool:
            return torch.from_numpy(numbers.copy()).to(device)
    raise ShapeError(
        f"mask: expected bool [B], a tensor, an array or a list, got {type(mask).__name__}"
    )


def _forward(picked: slice, size: int) -> list[int]:
    try:
        return [*range(*picked.indices(size))]
    except (TypeError, ValueError) as error:
        raise ShapeError(f"rows: expected a slice of integers, got {picked}: {error}") from None


def _as_tensor(picked: Any, expected: str) -> Tensor:
    """A tensor of bools or integers."""
    if isinstance(picked, int | np.integer) and not isinstance(picked, bool):
        picked = [int(picked)]
    if isinstance(picked, list | tuple | range):
        numbers = [*picked]
        same = len({isinstance(number, bool | np.bool_) for number in numbers}) <= 1
        kinds = (bool, np.bool_, int, np.integer)
        if not same or not all(isinstance(number, kinds) for number in numbers):
            raise ShapeError(f"{expected}, got {type(picked).__name__} {numbers[:4]}")
        if not all(-(2**63) <= number < 2**63 for number in numbers):
            raise ShapeError(f"{expected}, got {type(picked).__name__} of larger numbers")
        picked = torch.tensor(numbers, dtype=None if numbers else torch.int64)
    elif isinstance(picked, np.ndarray):
        if picked.dtype.kind not in "bi":
            raise ShapeError(f"{expected}, got an array of {picked.dtype}")
        picked = torch.from_numpy(picked.copy())
    if not isinstance(picked, Tensor):
        raise ShapeError(f"{expected}, got {type(picked).__name__}")
    if (type(picked) is Tensor and picked.is_meta) or picked.layout is not torch.strided:
        raise ShapeError(f"{expected}, got one without numbers, on {picked.device}")
    if picked.dtype not in (torch.bool, torch.int64, torch.int32, torch.int16, torch.int8):
        raise ShapeError(f"{expected}, got {picked.dtype}")
    return picked
