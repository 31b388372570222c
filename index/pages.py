"""Allocates large tables: in large pages, and so that they can become longer without a copy."""

import contextlib
import math
import sys
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from index.table_parts import Parts

# From so many bytes on NumPy asks the system for large pages, which torch does not do.
_FROM = 4 * 2**20
_MOST_RESERVED = 2**30  # bytes asked for beyond those that are used now
_LINE = 64  # bytes; a row that begins with a line of the cache touches as few as possible

_AS_IT_IS = contextlib.nullcontext()


def ordinary_tensors() -> Any:
    """A block whose tensors can be written to outside of inference mode too."""
    return torch.inference_mode(False) if torch.is_inference_mode_enabled() else _AS_IT_IS


def zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros, which can be written to outside of inference mode too.

    A large tensor on the CPU lies in pages of 2 MiB where the system has them, as Linux does:
    looking up random words in it takes a sixth less time. Memory is taken when it is written to.

    Raises:
        RuntimeError: there is not that much memory, as from torch.
    """
    with ordinary_tensors():
        return _zeros(shape, dtype, device)


def _zeros(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    size = math.prod(shape) * dtype.itemsize
    if device.type != "cpu" or size < _FROM:
        return torch.zeros(shape, dtype=dtype, device=device)
    try:
        raw = np.zeros(size + _LINE, np.uint8)
    except (MemoryError, ValueError) as error:
        raise RuntimeError(f"index: expected {size} bytes of memory, got none") from error
    start = -raw.ctypes.data % _LINE
    return torch.from_numpy(raw[start : start + size]).view(dtype).view(shape)


class Reserve(Parts):
    """Memory behind a tensor of rows, on the CPU, into which the tensor can grow without a copy.

    A copy of a large table takes longer than many searches. So the system is asked for more than is
    needed, and gives each page when it is written to. A copy of the owner has no reserve.
    """

    def __init__(self) -> None:
        self._raw: np.ndarray | None = None

    def zeros(
        self, rows: int, most: int, width: tuple[int, ...], dtype: torch.dtype, device: torch.device
    ) -> Tensor:
        """`zeros` of this many rows, with memory for up to `most` of them if that is to be had.

        Args:
            rows, width: the shape is [rows, *width].
            most: rows it may come to have; no more than 1 GiB of memory is asked for.
            dtype, device: of the tensor.
        """
        self._raw = None
        size = math.prod(width) * dtype.itemsize
        most = min(most, _MOST_RESERVED // max(1, size))
        large = device.type == "cpu" and sys.platform != "win32" and rows * size >= _FROM
        if large and most > rows:
            with contextlib.suppress(MemoryError, ValueError):
                self._raw = np.zeros(most * size + _LINE, np.uint8)
                return self._first(rows, width, dtype)
        return zeros((rows, *width), dtype, device)

    def grown(self, tensor: Tensor, rows: int, most: int) -> Tensor | None:
        """A tensor with more rows, of which the first are those of a tensor that `zeros` returned.

        Args:
            tensor: not used any longer if there is another.
            rows: at least those of the tensor.
            most: as of `zeros`, where a small tensor is copied after all.

        Returns:
            The tensor; None if it would be a copy of a large one.
        """
        width, dtype = tuple(tensor.shape[1:]), tensor.dtype
        size = math.prod(width) * dtype.itemsize
        if self._raw is None:
            if len(tensor) * size > _FROM:
                return None
            longer = self.zeros(rows, most, width, dtype, tensor.device)
            longer[: len(tensor)] = tensor
            return longer
        if tensor.data_ptr() != self._start() or rows * size > len(self._raw) - _LINE:
            return None
        return self._first(rows, width, dtype)

    def copied(self, device: torch.device) -> Self:
        return type(self)()

    def _start(self) -> int:
        assert self._raw is not None
        return self._raw.ctypes.data + -self._raw.ctypes.data % _LINE

    def _first(self, rows: int, width: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """The first rows of the memory."""
        assert self._raw is not None
        start = -self._raw.ctypes.data % _LINE
        part = self._raw[start : start + rows * math.prod(width) * dtype.itemsize]
        with ordinary_tensors():
            return torch.from_numpy(part).view(dtype).view(rows, *width)
