"""The parts of a file: each is checked when it is taken, and none may be left over."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.checks import is_finite
from index.errors import FileFormatError


class Contents:
    """Tensors and settings by dotted name; parts below a name are reached with `under`.

    Every method that takes a part raises `error` if there is none or it is not as said.

    Args:
        path: of the file, for messages.
        tensors: by name.
        settings: by name, as in JSON.
        error: what to raise.
        mapped: whether the tensors are mapped from the file into memory of this process alone, so
            that they may be kept and written to.
    """

    def __init__(
        self,
        path: str | Path,
        tensors: dict[str, Tensor],
        settings: dict[str, Any],
        error: type[FileFormatError] = FileFormatError,
        *,
        mapped: bool = False,
    ) -> None:
        self.mapped = mapped
        self.path, self._error, self._prefix = path, error, ""
        self._tensors, self._settings = tensors, settings
        self._used: set[str] = set()

    def under(self, name: str) -> "Contents":
        """The parts whose names begin with `name` and a dot."""
        other = object.__new__(Contents)
        vars(other).update(vars(self))
        other._prefix = f"{self._prefix}{name}."
        return other

    def names(self) -> list[str]:
        """The names of all parts below the prefix, taken or not."""
        both = (*self._tensors, *self._settings)
        length = len(self._prefix)
        return sorted(name[length:] for name in both if name.startswith(self._prefix))

    def ignore(self) -> None:
        """Takes all parts below the prefix without a look at them."""
        self._used.update(self._prefix + name for name in self.names())

    def refuse(self, name: str, expected: object, given: object) -> FileFormatError:
        """The error for a part that is not what it should be."""
        return self._error(f"{self.path}: {self._prefix}{name}: expected {expected}, got {given}")

    def peek(self, name: str) -> Tensor | None:
        """The tensor of this name, if there is one, whatever it is."""
        return self._tensors.get(self._prefix + name)

    def tensor(self, name: str, shape: Sequence[int | None], dtype: torch.dtype | None) -> Tensor:
        """A tensor of this shape and dtype, where None allows any."""
        expected = f"{dtype or 'any dtype'} {['any' if size is None else size for size in shape]}"
        tensor = self._tensors.get(self._prefix + name)
        if tensor is None:
            raise self.refuse(name, expected, "none")
        fits = len(shape) == tensor.dim() and all(
            size in (None, found) for size, found in zip(shape, tensor.shape, strict=True)
        )
        if not fits or dtype not in (None, tensor.dtype):
            raise self.refuse(name, expected, f"{tensor.dtype} {[*tensor.shape]}")
        if not is_backed(tensor):  # of a pickle: a few bytes could claim any size
            raise self.refuse(name, expected, "one without a number for each place")
        self._used.add(self._prefix + name)
        return tensor

    def integers(
        self,
        name: str,
        shape: Sequence[int | None],
        least: int,
        below: int,
        dtype: torch.dtype = torch.int64,
    ) -> Tensor:
        """A tensor of integers, each at least `least` and smaller than `below`."""
        tensor = self.tensor(name, shape, dtype)
        if tensor.numel() and (int(tensor.min()) < least or int(tensor.max()) >= below):
            bounds = f"{int(tensor.min())} to {int(tensor.max())}"
            raise self.refuse(name, f"{least} to {below - 1}", bounds)
        return tensor

    def finite(self, name: str, shape: Sequence[int | None], dtype: torch.dtype) -> Tensor:
        """A tensor of finite numbers."""
        tensor = self.tensor(name, shape, dtype)
        if not is_finite(tensor):
            raise self.refuse(name, "finite numbers", "NaN or infinity")
        return tensor

    def setting(self, name: str, kind: type, default: Any = None) -> Any:
        """A setting of exactly this type; if there is none the default, unless that is None."""
        if default is not None and self._prefix + name not in self._settings:
            return default
        if self._prefix + name not in self._settings:
            raise self.refuse(name, kind.__name__, "none")
        value = self._settings[self._prefix + name]
        if type(value) is not kind:
            raise self.refuse(name, kind.__name__, repr(value))
        self._used.add(self._prefix + name)
        return value

    def same(self, name: str, expected: Any) -> None:
        """Checks that a setting has a value."""
        if self.setting(name, type(expected)) != expected:
            raise self.refuse(name, repr(expected), repr(self._settings[self._prefix + name]))

    def number(self, name: str, least: int, most: int) -> int:
        """A setting that is an integer in [least, most]."""
        value = self.setting(name, int)
        if not least <= value <= most:
            raise self.refuse(name, f"{least} to {most}", value)
        return value

    def finish(self) -> None:
        """Checks that every part was taken; if not, the file is of something else."""
        left = sorted({*self._tensors, *self._settings} - self._used)
        if left:
            raise self._error(f"{self.path}: expected no part {left[0]!r}, got it")


def is_backed(tensor: Tensor) -> bool:
    """Whether a tensor is an ordinary one with memory of its own for every number."""
    if tensor.layout is not torch.strided or tensor.device.type == "meta" or tensor.is_quantized:
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()
