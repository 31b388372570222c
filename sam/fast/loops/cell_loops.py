"""One step of an LSTM controller, its interface and SAM's memory: a call forward, one backward.

Where torch makes the products, the gates are a call of their own.
"""

from typing import Any

import numpy as np

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.cell_arrays import (
    CellGrads,
    CellSaved,
    CellSizes,
    CellState,
    CellWeights,
    StateGrads,
    cut_grads,
    cut_rows,
    cut_saved,
    cut_state,
)
from sam.fast.loops.kernel_arrays import KernelParams, Memory
from sam.fast.loops.lstm_gates import lstm, lstm_backward
from sam.fast.loops.matmul import add_packed
from sam.fast.loops.memory_loops import Step, StepGrads, StepSaved, backward, begin, end


@inline
def _step(
    before: CellState,
    after: CellState,
    floats: Any,
    slots: Any,
    saved: CellSaved,
    lru_slots: Any,
    sizes: CellSizes,
) -> Step:
    """The memory's part; `lru_slots` is room for what is written over."""
    count = sizes.batch * sizes.writes * sizes.write_slots
    shape = sizes.batch, sizes.writes, sizes.write_slots
    return Step(
        np.empty(0, np.bool_),
        saved.kept,
        sizes.inputs + sizes.heads * sizes.word + 6 * sizes.units,
        before.slots,
        before.values,
        lru_slots,
        slots[len(slots) - count :].reshape(shape),
        floats[len(floats) - count :].reshape(shape),
        after.slots,
        saved.cosine,
        after.values,
        saved.words,
        after.reads,
    )


@lean_inline
def _lay_out(inputs: Any, before: CellState, weights: CellWeights, saved: CellSaved) -> None:
    """[x ; r_{t-1} ; h_{t-1}] and the biases, to which the products are added."""
    width, count, units = inputs.shape[1], before.reads.shape[1], before.hidden.shape[1]
    gates = width + count + units
    for b in range(len(inputs)):
        given, kept = inputs[b], saved.kept[b]
        reads, hidden = before.reads[b], before.hidden[b]
        x, r, h = kept[:width], kept[width : width + count], kept[width + count : gates]
        into, controls = kept[gates : gates + 4 * units], kept[gates + 5 * units :]
        for j in range(width):
            x[j] = given[j]
        for j in range(count):
            r[j] = reads[j]
        for j in range(units):
            h[j] = hidden[j]
        for j in range(4 * units):
            into[j] = weights.bias[j]
        for j in range(len(weights.interface_bias)):
            controls[j] = weights.interface_bias[j]


@jit
def begin_cell(
    multiplies: bool,
    inputs: Any,
    before_floats: Any,
    before_slots: Any,
    floats: Any,
    slots: Any,
    saved_floats: Any,
    rows: Any,
    weights: CellWeights,
    lru_slots: Any,
    memory: Memory,
    params: KernelParams,
    sizes: CellSizes,
    exact: bool,
) -> tuple[int, int]:
    """Controller and interface, then what `begin_step` does. Can be begun again, as that one.

    Args:
        multiplies: False if the controls are there already, and only the memory's part is left.
        inputs: x, [B, I].
        before_floats, before_slots: the state before, as `CellState`, flat.
        floats, slots: that after the step and, at their ends, w^W and its slots, flat.
        saved_floats: goes to `cell_backward`.
        rows: of the store, flat.
        weights: none are needed unless it multiplies.
        lru_slots, memory, params, exact: as in `begin_step`.
        sizes: of all that is flat.
    """
    before = cut_state(before_floats, before_slots, sizes)
    after, saved = cut_state(floats, slots, sizes), cut_saved(saved_floats, sizes)
    if multiplies:
        gates = sizes.inputs + sizes.heads * sizes.word + sizes.units
        _lay_out(inputs, before, weights, saved)
        add_packed(saved.kept, saved.kept, weights.all, 4 * sizes.units, gates, 0)
        _gates(before, after, saved, sizes)
        controls = gates + 5 * sizes.units
        add_packed(saved.kept, after.hidden, weights.interface, sizes.controls, controls, 0)
    step = _step(before, after, floats, slots, saved, lru_slots, sizes)
    found = begin(step, cut_rows(rows, sizes), memory, params, exact)
    if exact:
        _keep_values(before, after, saved)
    return found


@lean_inline
def _gates(before: CellState, after: CellState, saved: CellSaved, sizes: CellSizes) -> None:
    """The LSTM, once its products are made."""
    units = sizes.units
    gates = sizes.inputs + sizes.heads * sizes.word + units
    last = gates + 4 * units
    for b in range(sizes.batch):
        cell, hidden, kept = before.cell[b], after.hidden[b], saved.kept[b]
        prev_cell, copied = saved.prev_cell[b], kept[last : last + units]
        lstm(kept[gates:last], cell, after.cell[b], hidden)
        for j in range(units):
            copied[j] = hidden[j]
        for j in range(units):
            prev_cell[j] = cell[j]


@jit
def gates_forward(
    before_floats: Any,
    before_slots: Any,
    floats: Any,
    slots: Any,
    saved_floats: Any,
    sizes: CellSizes,
) -> None:
    """The LSTM, where `begin_cell` does not multiply; with arguments as there."""
    before = cut_state(before_floats, before_slots, sizes)
    after, saved = cut_state(floats, slots, sizes), cut_saved(saved_floats, sizes)
    _gates(before, after, saved, sizes)


@lean_inline
def _keep_values(before: CellState, after: CellState, saved: CellSaved) -> None:
    """w^R before and after, of which others have the tensors."""
    batch, heads, top_k = saved.values.shape
    for b in range(batch):
        for head in range(heads):
            for k in range(top_k):
                saved.prev_values[b, head, k] = before.values[b, head, k]
                saved.values[b, head, k] = after.values[b, head, k]


@jit
def end_cell(
    before_floats: Any,
    before_slots: Any,
    floats: Any,
    slots: Any,
    saved_floats: Any,
    rows: Any,
    lru_slots: Any,
    memory: Memory,
    params: KernelParams,
    sizes: CellSizes,
) -> bool:
    """What `end_step` does, with arguments as in `begin_cell`."""
    before = cut_state(before_floats, before_slots, sizes)
    after, saved = cut_state(floats, slots, sizes), cut_saved(saved_floats, sizes)
    step = _step(before, after, floats, slots, saved, lru_slots, sizes)
    right = end(step, cut_rows(rows, sizes), memory, params)
    _keep_values(before, after, saved)
    return right


@jit
def cell_backward(
    multiplies: bool,
    saved_floats: Any,
    rows: Any,
    grads: CellGrads,
    out: Any,
    weights: CellWeights,
    sizes: CellSizes,
    min_strength: float,
    eps: float,
) -> None:
    """The backward pass.

    Args:
        multiplies: False to make the memory's part only, and leave the rest to `gates_backward`.
        saved_floats: of `begin_cell`; gates and controls become their gradients.
        rows: of G, flat.
        grads: that come in.
        out: `StateGrads`, flat; filled in.
        weights: none are needed unless it multiplies.
        sizes: of all that is flat.
        min_strength, eps: as in `step_backward`.
    """
    saved, found = cut_saved(saved_floats, sizes), cut_grads(out, sizes)
    inner = sizes.inputs + sizes.heads * sizes.word + sizes.units
    controls = inner + 5 * sizes.units
    _copy(grads.hidden, found.hidden)
    _copy(grads.cell, found.cell)
    for b in range(sizes.batch):
        _copy(grads.values[b], found.values[b])
    step = StepSaved(
        np.empty(0, np.bool_),
        saved.kept,
        controls,
        saved.prev_values,
        saved.cosine,
        saved.values,
        saved.words,
    )
    word = np.empty(sizes.word, saved.kept.dtype)
    step_grads = StepGrads(grads.reads, found.values, grads.memory, word)
    backward(step, cut_rows(rows, sizes), step_grads, 0, sizes.batch, min_strength, eps)
    if multiplies:
        add_packed(found.hidden, saved.kept, weights.interface, sizes.units, 0, controls)
        _gates_backward(saved, found, np.empty(sizes.units, saved.kept.dtype), sizes)
        of_all = np.zeros((sizes.batch, inner), saved.kept.dtype)
        add_packed(of_all, saved.kept, weights.all, inner, 0, inner)
        _copy(of_all[:, : sizes.inputs], found.inputs)
        _copy(of_all[:, sizes.inputs : inner - sizes.units], found.reads)
        _copy(of_all[:, inner - sizes.units :], found.hidden)


@lean_inline
def _gates_backward(saved: CellSaved, found: StateGrads, room: Any, sizes: CellSizes) -> None:
    """Gates become their gradients, the gradient of c that of c_{t-1}; `room` is for c, [C]."""
    units = sizes.units
    inner = sizes.inputs + sizes.heads * sizes.word + units
    for b in range(sizes.batch):
        gates, before = saved.kept[b, inner : inner + 4 * units], saved.prev_cell[b]
        enter, forget, new = gates[:units], gates[units : 2 * units], gates[2 * units : 3 * units]
        for j in range(units):
            room[j] = forget[j] * before[j] + enter[j] * new[j]
        lstm_backward(gates, before, room, found.hidden[b], found.cell[b])


@jit
def gates_backward(saved_floats: Any, out: Any, sizes: CellSizes) -> None:
    """The LSTM's backward pass, where `cell_backward` does not multiply; arguments as there.

    `out` holds the gradient of h where that of h_{t-1} will stand.
    """
    saved = cut_saved(saved_floats, sizes)
    room = np.empty(sizes.units, saved.kept.dtype)
    _gates_backward(saved, cut_grads(out, sizes), room, sizes)


@lean_inline
def _copy(source: Any, to: Any) -> None:
    """Of matrices."""
    for b in range(len(source)):
        given, taken = source[b], to[b]
        for j in range(len(given)):
            taken[j] = given[j]
