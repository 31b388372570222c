"""Backward pass of `sam.fast.loops.sequence_forward`: one loop over time, last step first.

Gates and controls become their gradients in place; what depends on all steps, the gradients of
weights and inputs, is made from them outside. `add_reads` and `control_backward` are shared with
`linked_sequence_backward`.
"""

from typing import Any, NamedTuple

from index.compiled import lean_inline, lean_jit
from sam.fast.loops.kernel_arrays import SavedForBackward, Start
from sam.fast.loops.lstm_gates import lstm_backward
from sam.fast.loops.matmul import add_packed
from sam.fast.loops.memory_loops import Rows, StepGrads, StepSaved, backward


class GradRows(NamedTuple):
    """Rows of G for the slots, as `sam.store.gradient_tape.grad_rows` gives them."""

    read: Any  # [T, B, H, K]
    lru: Any  # [T, B, V]
    start: Any  # of `Start.slots`, [B, H, K]


class Grads(NamedTuple):
    """What comes in, and what is carried from step to step and at the end goes out."""

    hidden: Any  # of h, [T, B, C]
    reads: Any  # of r, [T, B, H W]
    memory: Any  # G
    both: Any  # carried, of [r ; h], [B, H W + C]
    cell: Any  # carried, of c, [B, C]
    values: Any  # carried, of w^R, [B, H, K]
    step_hidden: Any  # room for the gradient of h at one step, [B, C]
    active: Any  # room for the rows that take a step, bool [B]
    words: Any  # room for a word a thread, [B, W]


class WeightsBack(NamedTuple):
    """Weights laid out for the backward pass, packed as `sam.fast.packing` does."""

    recurrent: Any  # [4 C, H W + C], packed
    interface: Any  # [P, C], packed


@lean_inline
def add_reads(t: int, lo: int, hi: int, start: Start, grads: Grads) -> None:
    """Which rows take step t; to the gradient of its r that is carried comes the one given."""
    width = grads.reads.shape[2]
    for b in range(lo, hi):
        grads.active[b] = t < start.lengths[b]
        both, reads = grads.both[b], grads.reads[t, b]
        for j in range(width):
            both[j] += reads[j]


@lean_inline
def control_backward(
    t: int, lo: int, hi: int, saved: Any, start: Start, weights: WeightsBack, grads: Grads
) -> None:
    """Interface and controller, once the controls of step t are their gradients."""
    width, units = saved.reads.shape[2], saved.hidden.shape[2]
    cells = saved.cells[t - 1] if t > 0 else start.cell
    for b in range(lo, hi):
        both, hidden, total = grads.both[b], grads.hidden[t, b], grads.step_hidden[b]
        for j in range(units):
            total[j] = hidden[j] + both[width + j]
    total, controls = grads.step_hidden[lo:hi], saved.controls[t, lo:hi]
    add_packed(total, controls, weights.interface, units, 0, 0)
    for b in range(lo, hi):
        gates = saved.gates[t, b]
        if grads.active[b]:
            total, cell = grads.step_hidden[b], grads.cell[b]
            lstm_backward(gates, cells[b], saved.cells[t, b], total, cell)
            both = grads.both[b]
            for j in range(width + units):
                both[j] = 0
        else:
            for j in range(len(gates)):
                gates[j] = 0
    both, gates = grads.both[lo:hi], saved.gates[t, lo:hi]
    add_packed(both, gates, weights.recurrent, width + units, 0, 0)


@lean_jit
def unroll_backward(
    lo: int,
    hi: int,
    saved: SavedForBackward,
    start: Start,
    weights: WeightsBack,
    rows: GradRows,
    grads: Grads,
    min_strength: float,
    eps: float,
) -> None:
    """Takes batch rows lo .. hi - 1 from the last step to the first."""
    step_grads = StepGrads(grads.both, grads.values, grads.memory, grads.words[lo])
    for t in range(len(saved.hidden) - 1, -1, -1):
        step = StepSaved(
            grads.active,
            saved.controls[t],
            0,
            saved.values[t - 1] if t > 0 else start.values,
            saved.cosine[t],
            saved.values[t],
            saved.words[t],
        )
        prev = rows.read[t - 1] if t > 0 else rows.start
        step_rows = Rows(rows.read[t], prev, rows.lru[t])
        add_reads(t, lo, hi, start, grads)
        backward(step, step_rows, step_grads, lo, hi, min_strength, eps)
        control_backward(t, lo, hi, saved, start, weights, grads)
