"""Backward pass of `sam.fast.loops.sequence_forward`: one loop over time, last step first.

Gates and controls become their gradients in place; what depends on all steps, the gradients of
weights and inputs, is made from them outside. `add_reads` is shared with
`linked_sequence_backward`.
"""

from typing import Any, NamedTuple

from index.compiled import lean_inline, lean_jit
from sam.fast.loops.kernel_arrays import SavedForBackward, Start, Weights
from sam.fast.loops.layers import Grads, control_backward
from sam.fast.loops.memory_loops import Rows, StepGrads, StepSaved, backward


class GradRows(NamedTuple):
    """Rows of G for the slots, as `sam.store.gradient_tape.grad_rows` gives them."""

    read: Any  # [T, B, H, K]
    lru: Any  # [T, B, V]
    start: Any  # of `Start.slots`, [B, H, K]


@lean_inline
def add_reads(t: int, lo: int, hi: int, start: Start, grads: Grads) -> None:
    """Which rows take step t; to the gradient of its r that is carried comes the one given."""
    width = grads.reads.shape[2]
    for b in range(lo, hi):
        grads.active[b] = t < start.lengths[b]
        both, reads = grads.both[b], grads.reads[t, b]
        for j in range(width):
            both[j] += reads[j]


@lean_jit
def unroll_backward(
    lo: int,
    hi: int,
    saved: SavedForBackward,
    start: Start,
    weights: Weights,
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
