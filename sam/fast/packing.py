"""Matrices laid out for `sam.fast.loops.matmul.add_packed`."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam.fast.loops.panels import fill_panels
from sam.fast.loops.tiles import PANEL

Columns = tuple[Tensor, int, int]
"""A matrix, and the first of its columns and the one behind the last that are meant."""


def plain_panels(parts: Sequence[Columns], *, back: bool) -> Tensor:
    """Matrices side by side, in panels of some columns, [panels, k, width].

    The width is that of a tile, which is a constant of this processor; zeros fill the last panel.

    Args:
        parts: matrices with as many rows each.
        back: whether the rows are those of the matrices; else those of the transpose.
    """
    matrix = torch.cat([matrix[:, lo:hi] for matrix, lo, hi in parts], 1)
    matrix = matrix if back else matrix.t()
    width = PANEL // matrix.element_size()
    more = -matrix.shape[1] % width
    return torch.nn.functional.pad(matrix, (0, more)).unflatten(1, (-1, width)).transpose(0, 1)


def panels_of(stacked: Sequence[Sequence[Columns]], like: Tensor, *, back: bool) -> Any:
    """`plain_panels` of some equal lists of parts, compiled.

    Args:
        stacked: the lists, or none.
        like: a tensor of the same dtype.
        back: see there.

    Returns:
        An array [lists, panels, k, width]; [0, 1, 1, 1] of no list.

    Cost: a copy.
    """
    count, width = len(stacked), PANEL // like.element_size()
    if not count:
        return like.detach().new_empty(0, 1, 1, 1).numpy()
    rows, columns = len(stacked[0][0][0]), sum(hi - lo for _, lo, hi in stacked[0])
    if not back:
        rows, columns = columns, rows
    panels = like.detach().new_empty(count, -(-columns // width), rows, width).numpy()
    for place, parts in zip(panels, stacked, strict=True):
        first = 0
        for matrix, lo, hi in parts:
            fill_panels(place, matrix.detach().contiguous().numpy(), lo, hi, first, not back)
            first += hi - lo
    return panels
