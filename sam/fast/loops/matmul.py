"""Products of small matrices, for compiled loops over time.

A step of a few batch rows multiplies 8 by 228 with 228 by 400 numbers. Called thousands of times,
a library pays its fixed costs each time. `add_product` is the plain form, a loop in blocks of 4 by
4 that the compiler turns into vector instructions. `add_packed` takes a matrix that was laid out
beforehand, which pays for a whole sequence, and keeps its sums in registers.
"""

from typing import Any

from index.compiled import lean_inline
from sam.fast.loops.apart import apart
from sam.fast.loops.tiles import (
    PANELS,
    ROWS,
    add_four_rows,
    add_row,
    add_row_by_four,
)


@lean_inline
def add_product(out: Any, left: Any, right: Any, to: int = 0, at: int = 0) -> None:
    """out += left @ right, for right [k, m] and parts of the rows of contiguous arrays.

    Args:
        out: its columns to .. to + m - 1 are added to, [n, ...].
        left: its columns at .. at + k - 1 are multiplied, [n, ...].
        right: [k, m].
        to, at: first columns.
    """
    rows = left.shape[0]
    inner, columns = right.shape
    row = 0
    while row + 4 <= rows:
        out0, out1, out2, out3 = (
            out[row, to:],
            out[row + 1, to:],
            out[row + 2, to:],
            out[row + 3, to:],
        )
        a0, a1, a2, a3 = left[row, at:], left[row + 1, at:], left[row + 2, at:], left[row + 3, at:]
        k = 0
        while k + 4 <= inner:
            b0, b1, b2, b3 = right[k], right[k + 1], right[k + 2], right[k + 3]
            a00, a01, a02, a03 = a0[k], a0[k + 1], a0[k + 2], a0[k + 3]
            a10, a11, a12, a13 = a1[k], a1[k + 1], a1[k + 2], a1[k + 3]
            a20, a21, a22, a23 = a2[k], a2[k + 1], a2[k + 2], a2[k + 3]
            a30, a31, a32, a33 = a3[k], a3[k + 1], a3[k + 2], a3[k + 3]
            for j in range(columns):
                c0, c1, c2, c3 = b0[j], b1[j], b2[j], b3[j]
                out0[j] += a00 * c0 + a01 * c1 + a02 * c2 + a03 * c3
                out1[j] += a10 * c0 + a11 * c1 + a12 * c2 + a13 * c3
                out2[j] += a20 * c0 + a21 * c1 + a22 * c2 + a23 * c3
                out3[j] += a30 * c0 + a31 * c1 + a32 * c2 + a33 * c3
            k += 4
        while k < inner:
            b0 = right[k]
            a00, a10, a20, a30 = a0[k], a1[k], a2[k], a3[k]
            for j in range(columns):
                c0 = b0[j]
                out0[j] += a00 * c0
                out1[j] += a10 * c0
                out2[j] += a20 * c0
                out3[j] += a30 * c0
            k += 1
        row += 4
    while row < rows:
        _add_row(out[row, to:], left[row, at:], right)
        row += 1


@lean_inline
def _add_row(out: Any, left: Any, right: Any) -> None:
    """out += left @ right for one row."""
    inner, columns = right.shape
    k = 0
    while k + 4 <= inner:
        a0, a1, a2, a3 = left[k], left[k + 1], left[k + 2], left[k + 3]
        b0, b1, b2, b3 = right[k], right[k + 1], right[k + 2], right[k + 3]
        for j in range(columns):
            out[j] += a0 * b0[j] + a1 * b1[j] + a2 * b2[j] + a3 * b3[j]
        k += 4
    while k < inner:
        a0, b0 = left[k], right[k]
        for j in range(columns):
            out[j] += a0 * b0[j]
        k += 1


@apart
def add_packed(out: Any, left: Any, packed: Any, columns: int, to: int, at: int) -> None:
    """out += left @ right for a matrix that was packed; else as `add_product`.

    Each number is summed in the same order, however many rows there are.

    Args:
        out, left, to, at: see `add_product`.
        columns: of the matrix.
        packed: right in panels of some columns, [panels, k, columns of a panel], the last one
            filled up with zeros; see `sam.fast.packing`.
    """
    rows, panels = left.shape[0], packed.shape[0]
    fours = rows - rows % ROWS
    if fours > 0:
        for panel in range(panels):
            for row in range(0, fours, ROWS):
                add_four_rows(out, row, to, left, at, packed, panel, columns)
    for row in range(fours, rows):
        panel = 0
        while panel + PANELS <= panels:
            add_row_by_four(out, row, to, left, at, packed, panel, columns)
            panel += PANELS
        while panel < panels:
            add_row(out, row, to, left, at, packed, panel, columns)
            panel += 1
