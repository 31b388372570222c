"""A whole sequence of SAM with an LSTM controller: the loops over time, forward and backward.

Batch rows lo .. hi - 1 are taken together, so that threads share a batch without waiting for one
another. Products with the inputs, and all gradients of weights, are made outside, for all steps
at once; inside remain the two products that need the last step's results.
"""

from typing import Any

from index.compiled import inline, jit
from sam.fast.loops.access_forward import put_units, read, search, squash, write
from sam.fast.loops.access_queue import find_oldest, touch
from sam.fast.loops.kernel_arrays import (
    FINISHED,
    NOT_FINITE,
    OUTSIDE,
    KernelParams,
    Memory,
    SavedForBackward,
    Scratch,
    Start,
    Weights,
)
from sam.fast.loops.lstm_gates import lstm
from sam.fast.loops.matmul import add_product
from sam.fast.loops.numerics import outside


@inline
def _advance(
    t: int,
    lo: int,
    hi: int,
    kept: SavedForBackward,
    start: Start,
    weights: Weights,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
) -> int:
    """A step up to the write, -1; or else, with nothing changed, the row whose order is used up."""
    for b in range(lo, hi):
        if t < start.lengths[b]:
            head = find_oldest(
                kept.oldest[t, b],
                memory.pending[b],
                memory.stamps[b],
                memory.queue[b],
                memory.head[b, 0],
                memory.end[b, 0],
                memory.epoch[b, 0],
                numbers.size,
            )
            if head < 0:
                return b
            memory.head[b, 0] = head
    heads, writes = kept.slots.shape[2], kept.oldest.shape[2]
    size, units = memory.store.shape[2], kept.hidden.shape[2]
    add_product(kept.gates[t, lo:hi], scratch.both[lo:hi], weights.recurrent)
    cells = kept.cells[t - 1] if t > 0 else start.cell
    for b in range(lo, hi):
        controls, hidden = kept.controls[t, b], kept.hidden[t, b]
        if t < start.lengths[b]:
            lstm(kept.gates[t, b], cells[b], kept.cells[t, b], hidden)
            both = scratch.both[b]
            for j in range(units):
                both[heads * size + j] = hidden[j]
        else:
            cell = kept.cells[t, b]
            for j in range(units):
                cell[j], hidden[j] = cells[b, j], 0
        for j in range(len(controls)):
            controls[j] = weights.bias[j]
    add_product(kept.controls[t, lo:hi], kept.hidden[t, lo:hi], weights.interface)
    slots = kept.slots[t - 1] if t > 0 else start.slots
    values = kept.values[t - 1] if t > 0 else start.values
    for b in range(lo, hi):
        if t < start.lengths[b]:
            squash(kept.controls[t, b], heads, writes, size, numbers.least)
            write(
                b,
                kept.controls[t, b],
                slots[b],
                values[b],
                kept.oldest[t, b],
                scratch.write_slots[b],
                scratch.write_values[b],
                memory.store,
            )
    return -1


@inline
def _search(
    t: int,
    lo: int,
    hi: int,
    kept: SavedForBackward,
    start: Start,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
) -> bool:
    """Tells the exact index what was written and asks it; False if something is not finite."""
    for b in range(lo, hi):
        if t >= start.lengths[b]:
            continue
        slots, store = scratch.write_slots[b], memory.store
        if not put_units(b, slots, store, memory.units, memory.penalty, numbers.eps):
            return False
        count = min(memory.head[b, 0], numbers.size)
        if not search(
            b,
            kept.controls[t, b],
            memory.units,
            memory.penalty,
            count,
            kept.slots[t, b],
            kept.cosine[t, b],
            numbers.eps,
        ):
            return False
    return True


@inline
def _finish(
    t: int,
    lo: int,
    hi: int,
    kept: SavedForBackward,
    start: Start,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
) -> None:
    """A step from what was found on."""
    slots = kept.slots[t - 1] if t > 0 else start.slots
    values = kept.values[t - 1] if t > 0 else start.values
    width = kept.reads.shape[2]
    accesses = slots.shape[1] * slots.shape[2]
    accesses += scratch.write_slots.shape[1] * scratch.write_slots.shape[2]
    now = numbers.clock + (t + 1) * accesses - 1
    threshold = kept.values.dtype.type(numbers.threshold)
    for b in range(lo, hi):
        reads, both = kept.reads[t, b], scratch.both[b]
        if t < start.lengths[b]:
            read(
                b,
                kept.controls[t, b],
                kept.slots[t, b],
                kept.cosine[t, b],
                kept.values[t, b],
                kept.words[t, b],
                reads,
                memory.store,
            )
            for j in range(width):
                both[j] = reads[j]
            touch(
                memory.stamps[b],
                memory.total[b],
                kept.slots[t, b],
                kept.values[t, b],
                scratch.write_slots[b],
                scratch.write_values[b],
                now,
                threshold,
            )
        else:
            for j in range(width):
                reads[j] = both[j]
            for h in range(slots.shape[1]):
                for k in range(slots.shape[2]):
                    kept.slots[t, b, h, k], kept.values[t, b, h, k] = (
                        slots[b, h, k],
                        values[b, h, k],
                    )


@jit
def unroll(
    first: int,
    lo: int,
    hi: int,
    kept: SavedForBackward,
    start: Start,
    weights: Weights,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
) -> tuple[int, int]:
    """All steps from `first` on with an exact index.

    Returns:
        The number of steps and FINISHED. Or the step where it stopped, and the batch row whose
        order has to be sorted before the loop can begin again with that step. Or that step and
        NOT_FINITE, for a word or key; or OUTSIDE, for a slot read before the first step.
    """
    if outside(start.slots[lo:hi], memory.stamps.shape[1] - 1):
        return first, OUTSIDE
    for t in range(first, len(kept.hidden)):
        row = _advance(t, lo, hi, kept, start, weights, memory, scratch, numbers)
        if row >= 0:
            return t, row
        if not _search(t, lo, hi, kept, start, memory, scratch, numbers):
            return t, NOT_FINITE
        _finish(t, lo, hi, kept, start, memory, scratch, numbers)
    return len(kept.hidden), FINISHED


@jit
def advance(
    t: int,
    kept: SavedForBackward,
    start: Start,
    weights: Weights,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
    slots: Any,
    words: Any,
) -> int:
    """A step of all rows up to the search, for an index that is asked from outside.

    Args:
        t, kept, start, weights, memory, scratch, numbers: as `unroll`.
        slots, words: where it goes what was written, [B, V J] and [B, V J, W]; slots are -1 in
            rows that do not take part.

    Returns:
        FINISHED, or the batch row whose order has to be sorted first; or OUTSIDE, for a slot read
        before the first step.
    """
    if outside(start.slots, memory.stamps.shape[1] - 1):
        return OUTSIDE
    batch_size = kept.hidden.shape[1]
    row = _advance(t, 0, batch_size, kept, start, weights, memory, scratch, numbers)
    if row >= 0:
        return row
    width = scratch.write_slots.shape[2]
    for b in range(batch_size):
        for i in range(slots.shape[1]):
            slots[b, i] = -1
            if t < start.lengths[b]:
                slots[b, i] = scratch.write_slots[b, i // width, i % width]
            word, out = memory.store[1 + slots[b, i], b], words[b, i]
            for j in range(len(out)):
                out[j] = word[j]
    return FINISHED


@jit
def finish(
    t: int,
    kept: SavedForBackward,
    start: Start,
    memory: Memory,
    scratch: Scratch,
    numbers: KernelParams,
) -> bool:
    """The rest of a step, once `kept.slots[t]` and `kept.cosine[t]` hold what was found.

    Returns False if a slot is out of range.
    """
    if outside(kept.slots[t], memory.stamps.shape[1] - 1):
        return False
    _finish(t, 0, kept.hidden.shape[1], kept, start, memory, scratch, numbers)
    return True
