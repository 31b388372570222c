"""Matrices laid out for `sam.fast.loops.matmul.add_packed`: in panels of some columns.

The width of a panel is that of a tile, which is a constant of this processor; zeros fill the last
one.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.fast.loops.panels import put_panels
from sam.fast.loops.tiles import PANEL


class Columns(NamedTuple):
    """Some columns of a matrix."""

    matrix: Tensor  # [n, ...]
    first: int
    count: int


def packed(matrix: Tensor) -> Tensor:
    """A matrix [k, m] in panels, [panels, k, width]. Cost: two copies."""
    inner, columns = matrix.shape
    width = PANEL // matrix.element_size()
    panels = -(-columns // width)
    padded = torch.nn.functional.pad(matrix, (0, panels * width - columns))
    return padded.reshape(inner, panels, width).transpose(0, 1).contiguous()


def packed_columns(each: Sequence[Sequence[Columns]], *, turned: bool) -> np.ndarray:
    """`packed` of several matrices of one shape, [L, panels, k, width].

    Args:
        each: of each matrix the columns that stand side by side in it.
        turned: whether to pack the transposed matrices.

    Cost: one copy.
    """
    rows = len(each[0][0].matrix)
    columns = sum(part.count for part in each[0])
    inner, outer = (columns, rows) if turned else (rows, columns)
    arrays: list[list[Any]] = [
        [part.matrix.detach().contiguous().numpy() for part in parts] for parts in each
    ]
    kind = arrays[0][0].dtype
    width = PANEL // kind.itemsize
    result = np.empty((len(each), -(-outer // width), inner, width), kind)
    for panels, parts, numbers in zip(result, each, arrays, strict=True):
        to = 0
        for part, array in zip(parts, numbers, strict=True):
            put_panels(panels, array, part.first, part.count, to, turned)
            to += part.count
    return result
