"""Objects made of tensors, and of other such objects: how many bytes they hold, and copies."""

from typing import Any, Self

import torch
from torch import Tensor


class Parts:
    """A base for objects whose state is tensors and other `Parts` in their attributes."""

    @property
    def nbytes(self) -> int:
        """Bytes held, room for slots not yet used included."""
        return sum(v.nbytes for v in vars(self).values() if isinstance(v, Tensor | Parts))

    def twin(self) -> Self:
        """Another object with the same attributes, shared."""
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        return other

    def copied(self, device: torch.device) -> Self:
        """An independent copy whose tensors lie on `device`."""
        other = self.twin()
        for name, value in vars(self).items():
            setattr(other, name, _copied(value, device))
        return other


def _copied(value: Any, device: torch.device) -> Any:
    if isinstance(value, Parts):
        return value.copied(device)
    if isinstance(value, Tensor):
        with torch.inference_mode(False):  # or it could not be written to outside of it
            return value.to(device, copy=True)
    return value
