"""Allocates large tables in large pages, which makes random access to them faster."""

import contextlib
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

# From so many bytes on NumPy asks the system for large pages, which torch does not do.
_FROM = 4 * 2**20
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
