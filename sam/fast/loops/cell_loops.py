"""One step of an LSTM controller, its interface and SAM's memory: a call forward, one backward."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit
from sam.fast.loops.kernel_arrays import KernelParams, Memory
from sam.fast.loops.lstm_gates import lstm, lstm_backward
from sam.fast.loops.matmul import add_product
from sam.fast.loops.memory_loops import Rows, Step, StepGrads, StepSaved, backward, begin, end


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
    rows: Any  # `Rows`, one field after the other, flat
    kept: Any  # [x ; r_{t-1} ; h_{t-1} | gates | controls], [B, I + H W + C + 4 C + P]
    found: Any  # `Step.cosine`, then `Step.words`, flat


class CellWeights(NamedTuple):
    """Of controller and interface, laid out for `add_product`."""

    all: Any  # [I + H W + C, 4 C]
    bias: Any  # both biases, [4 C]
    interface: Any  # [C, P]
    interface_bias: Any  # [P]


class CellWeightsBack(NamedTuple):
    """The same weights for the backward pass, and room to work in."""

    all: Any  # [4 C, I + H W + C]
    interface: Any  # [P, C]
    of_all: Any  # for the gradient of [x ; r_{t-1} ; h_{t-1}], [B, I + H W + C]


class CellSaved(NamedTuple):
    """What the backward pass needs of a step, [B, ...] each."""

    kept: Any  # `StepOutputs.kept`; gates and controls become their own gradients
    found: Any  # `StepOutputs.found`
    values: Any  # w^R
    prev_values: Any  # w^R_{t-1}
    prev_cell: Any  # c_{t-1}
    cell: Any  # c
    rows: Any  # of `StepOutputs.rows` in G


class CellGrads(NamedTuple):
    """Gradients that come in, and go out, [B, ...] each."""

    inputs: Any  # of x; goes here, [I], or [0]
    hidden: Any  # of h; becomes that of h_{t-1}, [C]
    cell: Any  # of c; becomes that of c_{t-1}, [C]
    reads: Any  # of r, [H W]
    values: Any  # of w^R; becomes that of w^R_{t-1}, [H, K]
    prev_reads: Any  # of r_{t-1}; goes here, [H W]
    memory: Any  # G


@inline
def _rows(rows: Any, slots: Any) -> Rows:
    """Parts of a flat array: rows of words read at this step and before, and of those erased."""
    count = slots.size
    return Rows(
        rows[:count].reshape(slots.shape),
        rows[count : 2 * count].reshape(slots.shape),
        rows[2 * count :].reshape(len(slots), (len(rows) - 2 * count) // len(slots)),
    )


@inline
def _step(before: StepInputs, after: StepOutputs, lru_slots: Any, at: int) -> Step:
    """The memory's part; `lru_slots` is room for what is written over."""
    b, h, k = after.slots.shape
    count = b * h * k
    return Step(
        np.empty(0, np.bool_),
        after.kept,
        at,
        before.slots,
        before.values,
        lru_slots,
        after.write_slots,
        after.write_values,
        after.slots,
        after.found[:count].reshape(b, h, k),
        after.values,
        after.found[count:].reshape(b, h, k, after.reads.shape[1] // h),
        after.reads,
    )


@jit
def begin_cell(
    inputs: Any,
    before: StepInputs,
    after: StepOutputs,
    weights: CellWeights,
    lru_slots: Any,
    memory: Memory,
    params: KernelParams,
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
    step = _step(before, after, lru_slots, controls)
    return begin(step, _rows(after.rows, after.slots), memory, params, exact)


@jit
def end_cell(
    before: StepInputs,
    after: StepOutputs,
    lru_slots: Any,
    memory: Memory,
    params: KernelParams,
    at: int,
) -> bool:
    """What `end_step` does; `at` is the column of the controls."""
    step = _step(before, after, lru_slots, at)
    return end(step, _rows(after.rows, after.slots), memory, params)


@jit
def cell_backward(
    saved: CellSaved, grads: CellGrads, weights: CellWeightsBack, min_strength: float, eps: float
) -> None:
    """The backward pass; see the comments on the fields for what becomes of them."""
    b, h, k = saved.values.shape
    count, units, width = b * h * k, saved.cell.shape[1], grads.inputs.shape[1]
    inner, read = weights.of_all.shape[1], grads.reads.shape[1]
    controls = inner + 4 * units
    step = StepSaved(
        np.empty(0, np.bool_),
        saved.kept,
        controls,
        saved.prev_values,
        saved.found[:count].reshape(b, h, k),
        saved.values,
        saved.found[count:].reshape(b, h, k, read // h),
    )
    word = np.empty(read // h, saved.kept.dtype)
    step_grads = StepGrads(grads.reads, grads.values, grads.memory, word)
    backward(step, _rows(saved.rows, saved.values), step_grads, 0, b, min_strength, eps)
    add_product(grads.hidden, saved.kept, weights.interface, 0, controls)
    for row in range(b):
        gates, prev_cell = saved.kept[row, inner:controls], saved.prev_cell[row]
        lstm_backward(gates, prev_cell, saved.cell[row], grads.hidden[row], grads.cell[row])
        for j in range(inner):
            weights.of_all[row, j] = 0
    add_product(weights.of_all, saved.kept, weights.all, 0, inner)
    for row in range(b):
        for j in range(width):
            grads.inputs[row, j] = weights.of_all[row, j]
        for j in range(read):
            grads.prev_reads[row, j] = weights.of_all[row, inner - units - read + j]
        for j in range(units):
            grads.hidden[row, j] = weights.of_all[row, inner - units + j]
