"""Shape checks at public entries."""

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
