"""A step of a controller's layers and of the interface, for any kind of them, both ways.

The kind is a number and not a type, so that all controllers share what is compiled: the loops over
a sequence take 12 seconds to compile, what a kind of layers adds half a second.
Layers lie side by side in one row: gates [L G], outputs [L C].
"""

from typing import Any, NamedTuple

from index.compiled import lean_inline
from sam.fast.loops.apart import apart
from sam.fast.loops.episode_starts import begins
from sam.fast.loops.gru_gates import gru, gru_backward
from sam.fast.loops.kernel_arrays import GRU, LSTM, Start, Weights
from sam.fast.loops.lstm_gates import lstm, lstm_backward
from sam.fast.loops.matmul import add_packed
from sam.fast.loops.numerics import number, tanh


class Grads(NamedTuple):
    """What comes in, and what is carried from step to step and at the end goes out."""

    hidden: Any  # of h, [T, B, L C]
    reads: Any  # of r, [T, B, H W]
    memory: Any  # G
    both: Any  # carried, of `Scratch.both`
    cell: Any  # carried, of c, [B, L C]; of layers without it [B, 0]
    values: Any  # carried, of w^R, [B, H, K]
    step_hidden: Any  # room for the gradient of h at one step, [B, L C]
    active: Any  # room for the rows that take a step, bool [B]
    words: Any  # room for a word a thread, [B, W]


@apart
def _put_out(kind: int, gates: Any, before: Any, cell: Any, hidden: Any) -> None:
    """What a layer of one batch row puts out.

    Args:
        kind: of layer.
        gates: what goes into them; becomes their values, [G].
        before: c', or h' of layers without it, [C].
        cell, hidden: where c and h go, [C].
    """
    if kind == LSTM:
        lstm(gates, before, cell, hidden)
    elif kind == GRU:
        gru(gates, before, hidden)
    else:
        for j in range(len(hidden)):
            hidden[j] = tanh(gates[j])


@apart
def _through(
    kind: int, gates: Any, before: Any, cell: Any, grad: Any, grad_cell: Any, back: Any
) -> None:
    """The backward pass of `_put_out`.

    Args:
        kind: of layer.
        gates: their values; becomes the gradient of what went into them, [G].
        before, cell: c' and c; h' and h of layers without it, [C].
        grad: of h, [C].
        grad_cell: of c; becomes that of c', [C], or [0].
        back: zeros, to which comes the gradient of h' that does not come through gates, [C].
    """
    if kind == LSTM:
        lstm_backward(gates, before, cell, grad, grad_cell)
    elif kind == GRU:
        gru_backward(gates, before, grad, back)
    else:
        one = number(cell[0], 1.0)
        for j in range(len(cell)):
            gates[j] = grad[j] * (one - cell[j] * cell[j])


@lean_inline
def control(t: int, lo: int, hi: int, run: Any) -> None:
    """Controller and interface: what they put out at step t, and what comes back at the next."""
    saved, weights, scratch = run.saved, run.weights, run.scratch
    gates, hidden, both = saved.gates[t, lo:hi], saved.hidden[t, lo:hi], scratch.both[lo:hi]
    cells = saved.cells[t - 1] if t > 0 else run.start.cell
    width, layers, columns = saved.reads.shape[2], len(weights.reads), weights.columns
    size, units = gates.shape[1] // layers, hidden.shape[1] // layers
    none = lo - lo  # for a literal `add_packed` would be compiled anew
    for layer in range(layers):
        to, at = layer * size, layer * units
        add_packed(gates, both, weights.reads[layer], columns, to, none)
        if layer > 0:
            add_packed(gates, hidden, weights.below[layer - 1], columns, to, at - units)
        if layer < len(weights.own):
            last = to + size - columns
            add_packed(gates, both, weights.own[layer], columns, last, width + at)
        for b in range(lo, hi):
            if scratch.active[b]:
                before = run.start.nothing if begins(t, b, run.start.begins) else cells[b]
                _put_out(
                    weights.kind,
                    saved.gates[t, b, to : to + size],
                    before[at : at + units],
                    saved.cells[t, b, at : at + units],
                    saved.hidden[t, b, at : at + units],
                )
    for b in range(lo, hi):
        controls, out = saved.controls[t, b], saved.hidden[t, b]
        if scratch.active[b]:
            back = scratch.both[b, width:]
            for j in range(len(back)):
                back[j] = out[j]
        else:
            cell = saved.cells[t, b]
            for j in range(len(out)):
                cell[j] = cells[b, j]
                out[j] = 0
        for j in range(len(weights.bias)):  # of none, the controls are there already
            controls[j] = weights.bias[j]
    controls = saved.controls[t, lo:hi]
    add_packed(controls, hidden, weights.interface, len(weights.bias), none, none)


@lean_inline
def control_backward(
    t: int, lo: int, hi: int, saved: Any, start: Start, weights: Weights, grads: Grads
) -> None:
    """Interface and controller, once the controls of step t are their gradients."""
    total, gates, both = grads.step_hidden[lo:hi], saved.gates[t, lo:hi], grads.both[lo:hi]
    cells = saved.cells[t - 1] if t > 0 else start.cell
    width, layers = saved.reads.shape[2], len(weights.reads)
    size, units = gates.shape[1] // layers, total.shape[1] // layers
    none = lo - lo
    for b in range(lo, hi):
        row, hidden, given = grads.both[b], grads.hidden[t, b], grads.step_hidden[b]
        for j in range(len(given)):
            given[j] = hidden[j]
        back = row[width:]
        for j in range(len(back)):
            given[j] += back[j]
        if grads.active[b]:
            for j in range(len(row)):
                row[j] = 0
    add_packed(total, saved.controls[t, lo:hi], weights.interface, layers * units, none, none)
    for layer in range(layers - 1, -1, -1):
        at, come = layer * units, layer * size
        for b in range(lo, hi):
            row = saved.gates[t, b, come : come + size]
            if grads.active[b]:
                before = start.nothing if begins(t, b, start.begins) else cells[b]
                _through(
                    weights.kind,
                    row,
                    before[at : at + units],
                    saved.cells[t, b, at : at + units],
                    grads.step_hidden[b, at : at + units],
                    grads.cell[b, at : at + units],
                    grads.both[b, width + at : width + at + units],
                )
            else:
                for j in range(size):
                    row[j] = 0
        add_packed(both, gates, weights.reads[layer], weights.columns, none, come)
        if layer > 0:
            add_packed(total, gates, weights.below[layer - 1], units, at - units, come)
        if layer < len(weights.own):
            own = weights.own[layer]
            add_packed(both, gates, own, units, width + at, come + size - own.shape[1])
