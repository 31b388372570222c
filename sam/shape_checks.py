"""Shape checks at public entries."""

from collections.abc import Mapping

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


def check_shapes(sizes: Mapping[str, int] | None = None, /, **tensors: tuple[Tensor, str]) -> None:
    """`check_shape` of several tensors: a letter is as large as where it stands first.

    Args:
        sizes: letters that are known from the start.
        tensors: by the name of the argument: the tensor, and the shape expected of it.

    Raises:
        ShapeError: as `check_shape`, of the first tensor that does not fit those before.
    """
    known = {} if sizes is None else dict(sizes)
    for name, (tensor, expected) in tensors.items():
        check_shape(name, tensor, expected, known)
        known = known | dict(zip(expected.split(), tensor.shape, strict=True))


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
