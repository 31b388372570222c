"""Numbers of some megabytes, in large pages where the system has them.

The C library takes every block above 32 MB from the system, and gives it back when it is freed. The
first touch of each page of 4 kB then costs more than all that is computed on it; a page of 2 MB is
cleared in one go.
"""

import contextlib
import mmap

import torch
from torch import Tensor

_LEAST = 2**25  # bytes; the C library keeps smaller blocks
_PAGE = 2**21


def new_numbers(count: int, like: Tensor) -> Tensor:
    """A tensor [count] of the kind of another one, on the CPU; its values may be anything.

    Large pages are a wish: where the system has none, they are small.
    """
    size = count * like.element_size()
    if size < _LEAST or not hasattr(mmap, "MADV_HUGEPAGE"):
        return like.new_empty(count)
    block = mmap.mmap(-1, size + _PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        block.madvise(mmap.MADV_HUGEPAGE)
    whole = torch.frombuffer(block, dtype=torch.uint8)
    start = -whole.data_ptr() % _PAGE  # a large page begins at a multiple of its size
    return torch.frombuffer(block, dtype=like.dtype, count=count, offset=start)
