"""Matrices laid out for `sam.fast.loops.matmul.add_packed`."""

from torch import Tensor

from sam.fast.loops.tiles import PANEL


def packed(matrix: Tensor) -> Tensor:
    """A matrix [k, m] in panels of some columns, [panels, k, width]; zeros fill the last one.

    The width is that of a tile, which is a constant of this processor. Cost: a copy.
    """
    inner, columns = matrix.shape
    width = PANEL // matrix.element_size()
    whole, rest = divmod(columns, width)
    panels = matrix.new_empty(whole + (rest > 0), inner, width)
    full = matrix[:, : whole * width].unflatten(1, (whole, width))
    panels[:whole] = full.transpose(0, 1)
    if rest:
        panels[whole, :, :rest] = matrix[:, whole * width :]
        panels[whole, :, rest:] = 0
    return panels
