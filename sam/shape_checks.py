"""Shape checks at public entries."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam.errors import ShapeError


def check_shape(name: str, tensor: Tensor, expected: str, sizes: dict[str, int]) -> None:
    """Raises unless `tensor` has the shape spelled by `expected`.

    Args:
        name: the argument's name, for the message.
        tensor: the tensor to check.
        expected: letters for the dimensions, for example ``"B H W"``.
        sizes: the letters that are known; the others may have any size.

    Raises:
        ShapeError: naming the argument, the expected shape and the given one.
    """
    letters = expected.split()
    wanted = [sizes.get(letter) for letter in letters]
    matches = tensor.dim() == len(letters) and all(
        size is None or size == given for size, given in zip(wanted, tensor.shape, strict=True)
    )
    if not matches:
        numbers = ", ".join(
            letter if size is None else f"{letter}={size}"
            for letter, size in zip(letters, wanted, strict=True)
        )
        raise ShapeError(f"{name}: expected shape [{numbers}], got {list(tensor.shape)}")


def check_rows(name: str, rows: Tensor, batch_size: int, device: torch.device) -> None:
    """Raises unless `rows` picks batch rows: bool [B] on a device.

    Raises:
        ShapeError: naming the argument, what was expected and what was given.
    """
    if not isinstance(rows, Tensor):
        raise ShapeError(f"{name}: expected bool [B={batch_size}], got {type(rows).__name__}")
    if rows.dtype != torch.bool or rows.shape != (batch_size,) or rows.device != device:
        raise ShapeError(
            f"{name}: expected bool [B={batch_size}] on {device}, "
            f"got {rows.dtype} {[*rows.shape]} on {rows.device}"
        )


def check_tensor(name: str, tensor: Any, shape: Sequence[int], like: Tensor) -> None:
    """Raises unless `tensor` has a shape, and is a tensor as `like` is one.

    Raises:
        ShapeError: naming the argument, the expected shape, dtype and device, and those given.
    """
    if not isinstance(tensor, Tensor):
        raise ShapeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
    if (
        tensor.shape != shape
        or tensor.dtype != like.dtype
        or tensor.device != like.device
        or tensor.layout is not torch.strided
    ):
        raise ShapeError(
            f"{name}: expected {like.dtype} on {like.device} of shape {[*shape]}, "
            f"got {tensor.dtype} on {tensor.device} of shape {[*tensor.shape]}"
        )
