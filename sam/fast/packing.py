"""Matrices laid out for `sam.fast.loops.matmul.add_packed`."""

import torch
from torch import Tensor

from sam.fast.loops.tiles import PANEL


def packed(matrix: Tensor) -> Tensor:
    """A matrix [k, m] in panels of some columns, [panels, k, width]; zeros fill the last one.

    The width is that of a tile, which is a constant of this processor. Cost: a copy.
    """
    inner, columns = matrix.shape
    width = PANEL // matrix.element_size()
    panels = -(-columns // width)
    padded = torch.nn.functional.pad(matrix, (0, panels * width - columns))
    return padded.reshape(inner, panels, width).transpose(0, 1).contiguous()
