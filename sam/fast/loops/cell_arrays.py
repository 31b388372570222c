"""The numbers of a step of a cell lie in a few flat arrays, since each array that a compiled call
is given takes time. Here they are cut.
"""

from typing import Any, NamedTuple

from index.compiled import inline
from sam.fast.loops.memory_loops import Rows


class CellSizes(NamedTuple):
    """Of a step."""

    batch: int  # B
    inputs: int  # I
    units: int  # C
    controls: int  # P
    heads: int  # H
    top_k: int  # K
    word: int  # W
    writes: int  # V
    write_slots: int  # J


class CellWeights(NamedTuple):
    """Of controller and interface; matrices packed as `sam.fast.packing` does, or none at all."""

    all: Any  # of [x ; r_{t-1} ; h_{t-1}] to the gates; in the backward pass of the gates to these
    bias: Any  # both biases, [4 C]
    interface: Any  # of h to the controls; in the backward pass the other way
    interface_bias: Any  # [P]


class CellState(NamedTuple):
    """The state before or after a step, [B, ...] each; cut from two flat arrays."""

    hidden: Any  # h, [C]
    cell: Any  # c, [C]
    reads: Any  # r, [H W]
    values: Any  # w^R, [H, K]
    slots: Any  # of it, [H, K]


class CellSaved(NamedTuple):
    """What the backward pass needs of a step, [B, ...] each; cut from a flat array."""

    kept: Any  # [x ; r_{t-1} ; h_{t-1} | gates | h | controls]; gates and controls become gradients
    prev_cell: Any  # c_{t-1}
    prev_values: Any  # w^R_{t-1}
    values: Any  # w^R
    cosine: Any  # D, [H, K]
    words: Any  # read, [H, K, W]


class CellGrads(NamedTuple):
    """Gradients that come in, [B, ...] each."""

    hidden: Any  # of h, [C]
    cell: Any  # of c, [C]
    reads: Any  # of r, [H W]
    values: Any  # of w^R, [H, K]
    memory: Any  # G


class StateGrads(NamedTuple):
    """Gradients that go out, [B, ...] each; cut from a flat array."""

    inputs: Any  # of x, [I]
    reads: Any  # of r_{t-1}, [H W]
    hidden: Any  # of h_{t-1}, [C]
    cell: Any  # of c_{t-1}, [C]
    values: Any  # of w^R_{t-1}, [H, K]


@inline
def cut_state(floats: Any, slots: Any, sizes: CellSizes) -> CellState:
    batch, heads, top_k = sizes.batch, sizes.heads, sizes.top_k
    cell = batch * sizes.units
    reads = 2 * cell
    values = reads + batch * heads * sizes.word
    count = batch * heads * top_k
    return CellState(
        floats[:cell].reshape(batch, sizes.units),
        floats[cell:reads].reshape(batch, sizes.units),
        floats[reads:values].reshape(batch, heads * sizes.word),
        floats[values : values + count].reshape(batch, heads, top_k),
        slots[:count].reshape(batch, heads, top_k),
    )


@inline
def cut_saved(floats: Any, sizes: CellSizes) -> CellSaved:
    batch, heads, top_k, word = sizes.batch, sizes.heads, sizes.top_k, sizes.word
    inner = sizes.inputs + heads * word + sizes.units
    columns = inner + 5 * sizes.units + sizes.controls
    count = batch * heads * top_k
    cell = batch * columns
    at = cell + batch * sizes.units
    return CellSaved(
        floats[:cell].reshape(batch, columns),
        floats[cell:at].reshape(batch, sizes.units),
        floats[at : at + count].reshape(batch, heads, top_k),
        floats[at + count : at + 2 * count].reshape(batch, heads, top_k),
        floats[at + 2 * count : at + 3 * count].reshape(batch, heads, top_k),
        floats[at + 3 * count : at + (3 + word) * count].reshape(batch, heads, top_k, word),
    )


@inline
def cut_rows(rows: Any, sizes: CellSizes) -> Rows:
    """Rows of words read at this step and before, and of those erased."""
    shape = sizes.batch, sizes.heads, sizes.top_k
    count = sizes.batch * sizes.heads * sizes.top_k
    return Rows(
        rows[:count].reshape(shape),
        rows[count : 2 * count].reshape(shape),
        rows[2 * count :].reshape(sizes.batch, sizes.writes),
    )


@inline
def cut_grads(out: Any, sizes: CellSizes) -> StateGrads:
    batch, read = sizes.batch, sizes.heads * sizes.word
    reads = batch * sizes.inputs
    hidden = reads + batch * read
    cell = hidden + batch * sizes.units
    values = cell + batch * sizes.units
    return StateGrads(
        out[:reads].reshape(batch, sizes.inputs),
        out[reads:hidden].reshape(batch, read),
        out[hidden:cell].reshape(batch, sizes.units),
        out[cell:values].reshape(batch, sizes.units),
        out[values:].reshape(batch, sizes.heads, sizes.top_k),
    )
