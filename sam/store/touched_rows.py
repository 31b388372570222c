"""Where G = dL/dM is kept: a place for each row of the memory that a backward pass visits.

In the forward pass each operation records the rows that it touches. When the backward pass begins,
G is laid out in one of two ways:

    in place    row r of the memory is row r of G. Nothing to look up, G is as large as the buffer:
                for a memory about as large as what the stretch touched, such as a fresh one.
    compact     G has one row for each different row touched, so that a memory loaded with a million
                words costs no more than a small one.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from sam.store.buffer import Buffer

# Zeroing so many rows of G takes as long as sorting one touched row among the others.
_ROWS_PER_TOUCH = 4


class Layout(NamedTuple):
    """How G is laid out during one backward pass."""

    size: int  # rows of G
    pads: int  # the first so many rows of G belong to slot -1
    rows: Tensor | None  # flat row of the memory for each row of G, ascending, or None if in place
    places: Tensor | None  # row of G for each row recorded, in their order, or None if in place


class TouchedRows:
    """The flat rows that the operations on one memory and on its clones touch.

    A memory and its clones share one: where the clone's G goes on into the memory's, both are laid
    out alike.

    Cost: recording is O(1) and keeps a reference. A layout takes O(M log M) for M rows recorded and
    8 M bytes, or nothing if in place; G has at most 4 M rows either way. Away from the CPU, where
    counting the different rows would wait for the device, G has as many as were recorded.
    """

    __slots__ = ("_count", "_parts", "layout")

    def __init__(self) -> None:
        self._parts: list[Tensor] | None = []
        self._count = 0
        self.layout: Layout | None = None

    def record(self, rows: Sequence[Tensor]) -> list[int]:
        """Records the flat rows of an operation, each int64 [m].

        Returns how many had been recorded before each of them.
        """
        if self._parts is None or not rows:
            return [0] * len(rows)
        # An operation forward: whatever backward pass there was is over, and its layout too small.
        self.layout = None
        self._parts += rows
        ends = [*itertools.accumulate(map(Tensor.numel, rows), initial=self._count)]
        self._count = ends.pop()
        return ends

    def lay_out(self, buffer: Buffer) -> Layout:
        """The layout of the backward pass that begins now, of G for this buffer."""
        size = buffer.flat().shape[0]
        if self._parts is None or _ROWS_PER_TOUCH * self._count >= size:
            self.layout = Layout(size, buffer.batch_size, None, None)
        else:
            # With all pads, which come first.
            pads = torch.arange(buffer.batch_size, device=self._parts[0].device)
            rows, places = _different(torch.cat([pads, *self._parts]))
            self.layout = Layout(
                len(rows), len(pads), rows, places.narrow(0, len(pads), self._count)
            )
        return self.layout

    def forget(self) -> None:
        """Frees what was recorded, after the backward pass; from now on G is laid out in place."""
        self._parts = self.layout = None


def _different(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The different ones of int64 [m], ascending, and for each of the m which one it is.

    Away from the CPU the first result has m entries; those beyond the different rows are arbitrary.
    """
    if rows.device.type == "cpu":
        return torch.unique(rows, return_inverse=True)
    ordered, order = rows.sort()
    step = torch.ones_like(ordered)
    step[1:] = ordered[1:] != ordered[:-1]
    place = step.cumsum(0) - 1
    different = torch.zeros_like(ordered).scatter_(0, place, ordered)
    return different, torch.empty_like(place).scatter_(0, order, place)
