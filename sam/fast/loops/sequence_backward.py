"""Backward pass of `sam.fast.loops.sequence_forward`: one loop over time, last step first.

Gates and controls become their gradients in place; what depends on all steps, the gradients of
weights and inputs, is made from them outside.
"""

from typing import Any, NamedTuple

from index.compiled import jit
from sam.fast.loops.access_backward import read_backward, write_backward
from sam.fast.loops.kernel_arrays import SavedForBackward, Start
from sam.fast.loops.lstm_gates import lstm_backward
from sam.fast.loops.matmul import add_product


class Places(NamedTuple):
    """Rows of G for the slots, as `sam.store.gradient_tape.places` gives them."""

    read: Any  # [T, B, H, K]
    oldest: Any  # [T, B, V]
    start: Any  # of `Start.slots`, [B, H, K]


class Grads(NamedTuple):
    """What comes in, and what is carried from step to step and at the end goes out."""

    hidden: Any  # of h, [T, B, C]
    reads: Any  # of r, [T, B, H W]
    memory: Any  # G
    both: Any  # carried, of [r ; h], [B, H W + C]
    cell: Any  # carried, of c, [B, C]
    values: Any  # carried, of w^R, [B, H, K]
    below: Any  # room for the gradient of h at one step, [B, C]
    held: Any  # room for a word, [hi - lo or more, W]


class WeightsBack(NamedTuple):
    """Weights laid out for the way back."""

    recurrent: Any  # [4 C, H W + C]
    interface: Any  # [P, C]


@jit
def unroll_backward(
    lo: int,
    hi: int,
    kept: SavedForBackward,
    start: Start,
    weights: WeightsBack,
    places: Places,
    grads: Grads,
    least: float,
    eps: float,
) -> None:
    """Takes batch rows lo .. hi - 1 from the last step to the first."""
    width, units = kept.reads.shape[2], kept.hidden.shape[2]
    held = grads.held[lo]
    for t in range(len(kept.hidden) - 1, -1, -1):
        values = kept.values[t - 1] if t > 0 else start.values
        before = places.read[t - 1] if t > 0 else places.start
        cells = kept.cells[t - 1] if t > 0 else start.cell
        for b in range(lo, hi):
            both, down, below = grads.both[b], grads.reads[t, b], grads.below[b]
            for j in range(width):
                both[j] += down[j]
            p = kept.controls[t, b]
            if t < start.lengths[b]:
                read_backward(
                    p,
                    places.read[t, b],
                    kept.cosine[t, b],
                    kept.values[t, b],
                    kept.words[t, b],
                    both[:width],
                    grads.values[b],
                    grads.memory,
                    held,
                    least,
                    eps,
                )
                write_backward(
                    p,
                    values[b],
                    before[b],
                    places.oldest[t, b],
                    grads.values[b],
                    grads.memory,
                    held,
                )
            else:
                for j in range(len(p)):
                    p[j] = 0
            up = grads.hidden[t, b]
            for j in range(units):
                below[j] = up[j] + both[width + j]
        add_product(grads.below[lo:hi], kept.controls[t, lo:hi], weights.interface)
        for b in range(lo, hi):
            gates = kept.gates[t, b]
            if t < start.lengths[b]:
                lstm_backward(gates, cells[b], kept.cells[t, b], grads.below[b], grads.cell[b])
                both = grads.both[b]
                for j in range(width + units):
                    both[j] = 0
            else:
                for j in range(len(gates)):
                    gates[j] = 0
        add_product(grads.both[lo:hi], kept.gates[t, lo:hi], weights.recurrent)
