"""Matrices laid out in panels for `sam.fast.loops.matmul.add_packed`: see `sam.fast.packing`."""

from typing import Any

from index.compiled import lean_jit


@lean_jit
def fill_panels(panels: Any, matrix: Any, lo: int, hi: int, first: int, is_turned: bool) -> None:
    """Puts a matrix or its transpose next to what the panels have already.

    Args:
        panels: of all matrices, [panels, k, width]; what follows in the last one becomes zero.
        matrix: its columns lo .. hi - 1 are meant.
        lo, hi: columns.
        first: how many columns there are of the matrices before; rows, if turned.
        is_turned: whether the transpose is put there.
    """
    rows, width, last = matrix.shape[0], panels.shape[2], first + hi - lo
    if is_turned:
        for panel in range(panels.shape[0]):
            start = panel * width
            to, many = panels[panel, first:], min(width, rows - start)
            for j in range(many):
                given = matrix[start + j, lo:]
                for k in range(hi - lo):
                    to[k, j] = given[k]
            if many < width:
                to[: hi - lo, many:] = 0
        return
    for k in range(rows):
        for panel in range(first // width, -(-last // width)):
            start = panel * width
            begin, end = max(start, first), min(start + width, last)
            to, given = panels[panel, k, begin - start :], matrix[k, lo + begin - first :]
            for j in range(end - begin):
                to[j] = given[j]
    if last % width:  # where the next matrix goes on, if there is one
        panels[last // width, :, last % width :] = 0
