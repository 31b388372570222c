"""Objects whose state is tensors: how many bytes they hold, and copies of them."""

from typing import Any, Self, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Parts:
    """A base for the parts of an index whose attributes are tensors and other `Parts`."""

    @property
    def nbytes(self) -> int:
        """Bytes held, room for slots not yet used included."""
        return bytes_of(self)

    def copied(self, device: torch.device) -> Self:
        """An independent copy whose tensors lie on `device`."""
        return copy_of(self, device)


def bytes_of(owner: object) -> int:
    """Bytes of the tensors and `Parts` in the attributes of an object."""
    return sum(v.nbytes for v in vars(owner).values() if isinstance(v, Tensor | Parts))


def copy_of(owner: T, device: torch.device) -> T:
    """A copy of an object; tensors and `Parts` are copied to `device`, the rest is shared."""
    other = object.__new__(type(owner))
    for name, value in vars(owner).items():
        vars(other)[name] = _copied(value, device)
    return other


def _copied(value: Any, device: torch.device) -> Any:
    if isinstance(value, Parts):
        return value.copied(device)
    if isinstance(value, Tensor):
        with torch.inference_mode(False):  # or it could not be written to outside of it
            return value.to(device, copy=True)
    return value
