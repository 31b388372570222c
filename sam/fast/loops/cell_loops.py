"""One step of an LSTM controller, its interface and SAM's memory: a call forward, one backward."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit
from sam.fast.loops.kernel_arrays import KernelParams, Memory
from sam.fast.loops.lstm_gates import lstm, lstm_backward
from sam.fast.loops.matmul import add_product
from sam.fast.loops.memory_loops import Step, StepBack, StepSaved, backward, begin, end


class StepInputs(NamedTuple):
    """The state before a step, [B, ...] each."""

    hidden: Any  # h_{t-1}, [C]
    cell: Any  # c_{t-1}, [C]
    reads: Any  # r_{t-1}, [H W]
    values: Any  # w^R_{t-1}, [H, K]
    slots: Any  # of it, [H, K]


class StepOutputs(NamedTuple):
    """The state after a step, as in `StepInputs`; and what else is filled in."""

    hidden: Any
    cell: Any
    reads: Any
    values: Any
    slots: Any
    write_slots: Any  # [B, V, J]
    write_values: Any  # w^W, [B, V, J]
    rows: Any  # `Step.rows`, then `Step.oldest_rows`, flat
    kept: Any  # [x ; r_{t-1} ; h_{t-1} | gates | controls], [B, I + H W + C + 4 C + P]
    found: Any  # `Step.cosine`, then `Step.words`, flat


class CellWeights(NamedTuple):
    """Of controller and interface, laid out for `add_product`."""

    all: Any  # [I + H W + C, 4 C]
    bias: Any  # both biases, [4 C]
    interface: Any  # [C, P]
    interface_bias: Any  # [P]


class CellWeightsBack(NamedTuple):
    """The same weights for the way back, and room to work in."""

    all: Any  # [4 C, I + H W + C]
    interface: Any  # [P, C]
    of_all: Any  # for the gradient of [x ; r_{t-1} ; h_{t-1}], [B, I + H W + C]


class CellBack(NamedTuple):
    """Of the way back, [B, ...] each."""

    kept: Any  # `StepOutputs.kept`; gates and controls become their own gradients
    found: Any  # `StepOutputs.found`
    values: Any  # w^R
    before_values: Any  # w^R_{t-1}
    before_cell: Any  # c_{t-1}
    cell: Any  # c
    of_inputs: Any  # where the gradient of x goes, [I], or [0]
    of_hidden: Any  # gradient of h; then of h_{t-1}, [C]
    of_cell: Any  # gradient of c; then of c_{t-1}, [C]
    of_reads: Any  # gradient of r, [H W]
    of_values: Any  # gradient of w^R; then of w^R_{t-1}, [H, K]
    of_before_reads: Any  # where the gradient of r_{t-1} goes, [H W]
    places: Any  # of `StepOutputs.rows` in G
    memory: Any  # G


@inline
def _step(before: StepInputs, after: StepOutputs, oldest: Any, at: int) -> Step:
    """The memory's part; `oldest` is room for what is written over."""
    b, h, k = after.slots.shape
    count = b * h * k
    return Step(
        np.empty(0, np.bool_),
        after.kept,
        at,
        before.slots,
        before.values,
        oldest,
        after.write_slots,
        after.write_values,
        after.slots,
        after.found[:count].reshape(b, h, k),
        after.values,
        after.found[count:].reshape(b, h, k, after.reads.shape[1] // h),
        after.reads,
        after.rows[: 2 * count].reshape(b, 2, h, k),
        after.rows[2 * count :].reshape(b, oldest.shape[1]),
    )


@jit
def begin_cell(
    inputs: Any,
    before: StepInputs,
    after: StepOutputs,
    weights: CellWeights,
    oldest: Any,
    memory: Memory,
    numbers: KernelParams,
    exact: bool,
) -> tuple[int, int]:
    """Controller and interface, then what `begin_step` does. Can be begun again, as that one."""
    batch_size, width = inputs.shape
    count, units = before.reads.shape[1], before.hidden.shape[1]
    gates = width + count + units  # their first column, and then that of the controls
    controls = gates + 4 * units
    for b in range(batch_size):
        kept = after.kept[b]
        for j in range(width):
            kept[j] = inputs[b, j]
        for j in range(count):
            kept[width + j] = before.reads[b, j]
        for j in range(units):
            kept[width + count + j] = before.hidden[b, j]
        for j in range(4 * units):
            kept[gates + j] = weights.bias[j]
        for j in range(len(weights.interface_bias)):
            kept[controls + j] = weights.interface_bias[j]
    add_product(after.kept, after.kept, weights.all, gates)
    for b in range(batch_size):
        lstm(after.kept[b, gates:controls], before.cell[b], after.cell[b], after.hidden[b])
    add_product(after.kept, after.hidden, weights.interface, controls)
    return begin(_step(before, after, oldest, controls), memory, numbers, exact)


@jit
def end_cell(
    before: StepInputs,
    after: StepOutputs,
    oldest: Any,
    memory: Memory,
    numbers: KernelParams,
    at: int,
) -> bool:
    """What `end_step` does; `at` is the column of the controls."""
    return end(_step(before, after, oldest, at), memory, numbers)


@jit
def cell_backward(cell: CellBack, weights: CellWeightsBack, least: float, eps: float) -> None:
    """The way back; see the comments on the fields for what becomes of them."""
    b, h, k = cell.values.shape
    count, units, width = b * h * k, cell.cell.shape[1], cell.of_inputs.shape[1]
    inner, read = weights.of_all.shape[1], cell.of_reads.shape[1]
    controls = inner + 4 * units
    step = StepSaved(
        np.empty(0, np.bool_),
        cell.kept,
        controls,
        cell.before_values,
        cell.found[:count].reshape(b, h, k),
        cell.values,
        cell.found[count:].reshape(b, h, k, read // h),
    )
    back = StepBack(
        cell.places[: 2 * count].reshape(b, 2, h, k),
        cell.places[2 * count :].reshape(b, (len(cell.places) - 2 * count) // b),
        cell.of_reads,
        cell.of_values,
        cell.memory,
        np.empty(read // h, cell.kept.dtype),
    )
    backward(step, back, least, eps)
    add_product(cell.of_hidden, cell.kept, weights.interface, 0, controls)
    for row in range(b):
        gates = cell.kept[row, inner:controls]
        lstm_backward(
            gates, cell.before_cell[row], cell.cell[row], cell.of_hidden[row], cell.of_cell[row]
        )
        for j in range(inner):
            weights.of_all[row, j] = 0
    add_product(weights.of_all, cell.kept, weights.all, 0, inner)
    for row in range(b):
        for j in range(width):
            cell.of_inputs[row, j] = weights.of_all[row, j]
        for j in range(read):
            cell.of_before_reads[row, j] = weights.of_all[row, inner - units - read + j]
        for j in range(units):
            cell.of_hidden[row, j] = weights.of_all[row, inner - units + j]
