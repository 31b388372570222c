"""Puts matrices into panels, see `sam.fast.packing`."""

from typing import Any

from index.compiled import lean_jit


@lean_jit
def put_panels(panels: Any, matrix: Any, first: int, count: int, to: int, turned: bool) -> None:
    """Puts some columns of a matrix into panels; places behind the last column become zeros.

    Args:
        panels: [panels, k, width]; changed.
        matrix: [n, ...].
        first, count: which columns.
        to: where the first of them goes: a column, or a row of the transposed matrix.
        turned: whether the panels are of the transposed matrix, k columns and n rows.
    """
    many, _, width = panels.shape
    rows = len(matrix)
    if turned:
        for panel in range(many):
            start = panel * width
            for j in range(count):
                line = panels[panel, to + j]
                for c in range(min(width, rows - start)):
                    line[c] = matrix[start + c, first + j]
                for c in range(rows - start, width):
                    line[c] = 0
        return
    stop = to + count
    for panel in range(to // width, -(-stop // width)):
        start = max(panel * width, to)
        within = start - panel * width
        held = min(panel * width + width, stop) - start
        for k in range(rows):
            line, numbers = panels[panel, k, within:], matrix[k, first + start - to :]
            for c in range(held):
                line[c] = numbers[c]
            for c in range(held, len(line)):
                line[c] = 0
