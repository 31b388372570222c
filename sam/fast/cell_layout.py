"""Where the parts of a step of a cell lie in its flat arrays, found out once for many steps."""

from itertools import accumulate
from typing import NamedTuple

from torch import Tensor

from sam.fast.cell_tensors import Parameters
from sam.fast.loops.cell_arrays import CellSizes
from sam.fast.step_request import StepRequest


class CellLayout(NamedTuple):
    """Where the parts lie, and the shapes that they have."""

    sizes: CellSizes
    accesses: int  # of a step and batch row
    state: tuple[int, ...]  # ends of h, c, r, w^R and w^W in one array
    slots: tuple[int, ...]  # ends of those read and those written
    saved: tuple[int, ...]  # ends of what `CellSaved` names, of which `kept` is the first
    rows: int  # of the store that are touched
    grads: tuple[int, ...]  # ends of what `StateGrads` names
    columns: tuple[int, ...]  # of `kept`: [x ; r_{t-1} ; h_{t-1}], gates, h and controls
    width: int  # all of these
    keys: slice  # their columns
    adds: slice  # the columns of the words to add
    hidden: tuple[int, int]  # shapes: [B, C]
    reads: tuple[int, int]  # [B, H W]
    values: tuple[int, int, int]  # [B, H, K]
    written: tuple[int, int, int]  # [B, V, J]

    @classmethod
    def of(cls, request: StepRequest, parameters: Parameters, inputs: Tensor) -> "CellLayout":
        """That of a step."""
        (batch, heads, top_k), word = request.slots.shape, request.store.word_size
        writes, count = request.write.slots.shape[1:]
        given, units, controls = inputs.shape[1], *reversed(parameters.weight.shape)
        read = heads * word
        columns = given + read + units, 4 * units, units, controls
        width, found, written = sum(columns), heads * top_k, writes * count
        keys = width - controls

        def ends(*sizes: int) -> tuple[int, ...]:
            return tuple(batch * end for end in accumulate(sizes))

        return cls(
            CellSizes(batch, given, units, controls, heads, top_k, word, writes, count),
            accesses=found + written,
            state=ends(units, units, read, found, written),
            slots=ends(found, written),
            saved=ends(width, units, found, found, found, found * word),
            rows=batch * (2 * found + writes),
            grads=ends(given, read, units, units, found),
            columns=columns,
            width=width,
            keys=slice(keys, keys + read),
            adds=slice(keys + read, keys + read + writes * word),
            hidden=(batch, units),
            reads=(batch, read),
            values=(batch, heads, top_k),
            written=(batch, writes, count),
        )
