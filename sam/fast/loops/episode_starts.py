"""Batch rows that begin a new episode inside a sequence, in the loops over time.

Before the first step of an episode a row has an empty memory, and its controller begins with zeros:
what `MemoryNetwork` does between two stretches by `CellState.reset`. In the backward pass nothing
goes on from such a step to the one before.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline
from sam.fast.loops.apart import apart
from sam.fast.loops.kernel_arrays import Memory, Start


@lean_inline
def begins(t: int, b: int, starts: Any) -> bool:
    """Whether a row begins an episode with step t; `starts` is `Start.begins`."""
    return len(starts) > 0 and starts[t, b]


@lean_inline
def begin_rows(t: int, lo: int, hi: int, run: Any) -> None:
    """Empties the rows that begin an episode with step t.

    With starts `Scratch.prev_slots` and `prev_values` have what all rows have read last. It may be
    called again for the same step before the step has written anything.
    """
    saved, start, scratch = run.saved, run.start, run.scratch
    if len(start.begins) == 0:
        return
    read = saved.slots[t - 1] if t > 0 else start.slots
    weights = saved.values[t - 1] if t > 0 else start.values
    for b in range(lo, hi):
        slots, values = scratch.prev_slots[b], scratch.prev_values[b]
        if start.begins[t, b]:
            size = run.params.size
            _empty_row(b, slots_held(b, scratch.held, run.memory.head, size), run.memory, size)
            scratch.held[b] = 0
            _clear(scratch.both[b])
            for head in range(slots.shape[0]):
                for k in range(slots.shape[1]):
                    slots[head, k], values[head, k] = -1, 0
        else:
            for head in range(slots.shape[0]):
                for k in range(slots.shape[1]):
                    slots[head, k] = read[b, head, k]
                    values[head, k] = weights[b, head, k]


@lean_inline
def slots_held(b: int, held: Any, head: Any, size: int) -> int:
    """Every slot of a row that may hold something is smaller."""
    return max(held[b], min(head[b, 0], size))


@apart
def _clear(numbers: Any) -> None:
    for j in range(len(numbers)):
        numbers[j] = 0


@apart
def _empty_row(b: int, held: int, memory: Memory, size: int) -> None:
    """A memory without words, none of whose slots was accessed; `held` as from `slots_held`."""
    store, stamps, queue = memory.store, memory.stamps[b], memory.queue[b]
    for slot in range(min(held, len(store) - 1)):
        _clear(store[1 + slot, b])
    for slot in range(min(held, len(stamps) - 1)):
        stamps[1 + slot] = slot - size
    if len(memory.units) > 0:  # else the index is told from outside
        units, penalty = memory.units[b], memory.penalty[b]
        for slot in range(min(held, len(penalty) - 1)):
            _clear(units[1 + slot])
            penalty[1 + slot] = -np.inf
    if memory.end[b, 0] != size:  # a row that was sorted
        for place in range(len(queue)):
            queue[place] = place
    memory.head[b, 0], memory.end[b, 0], memory.epoch[b, 0] = 0, size, 0
    pending = memory.pending[b]
    for v in range(len(pending)):
        pending[v] = -1


class Borders(NamedTuple):
    """Of the backward pass, where episodes begin; without starts, of no rows."""

    values: Any  # room for w^R_{t-1}, [B, H, K]
    rows: Any  # room for the rows in G of its words, [B, H, K]
    owners: Any  # the batch row of each row of G, [size]; [0] where they take turns
    emptied: Any  # rows whose G was, bool [B]


@lean_inline
def show_reads(
    t: int, lo: int, hi: int, saved: Any, start: Start, rows: Any, borders: Borders
) -> None:
    """With starts: what was read before step t; nothing where an episode begins."""
    values = saved.values[t - 1] if t > 0 else start.values
    read = rows.read[t - 1] if t > 0 else rows.start
    if len(start.begins) == 0:
        return
    for b in range(lo, hi):
        first = start.begins[t, b]
        for head in range(values.shape[1]):
            for k in range(values.shape[2]):
                # Row b of G is that of slot -1.
                borders.rows[b, head, k] = b if first else read[b, head, k]
                borders.values[b, head, k] = values[b, head, k]
                if first:
                    borders.values[b, head, k] = 0


@lean_inline
def end_rows(t: int, lo: int, hi: int, start: Start, grads: Any, borders: Borders) -> None:
    """Once step t is done, nothing of the rows that begin with it goes on to the step before."""
    if len(start.begins) == 0:
        return
    for b in range(lo, hi):
        if not start.begins[t, b]:
            continue
        _clear(grads.both[b])
        _clear(grads.cell[b])
        for head in range(grads.values.shape[1]):
            _clear(grads.values[b, head])
        # An episode that also ends inside of the sequence leaves nothing in G: its memory began
        # empty, and each slot was erased when it was first handed out. After the sequence anything
        # may have been read.
        if not borders.emptied[b]:
            _empty_grad(b, len(grads.both), grads.memory, borders.owners)
            borders.emptied[b] = True


@apart
def _empty_grad(b: int, batch_size: int, grad: Any, owners: Any) -> None:
    """G of a batch row becomes zero."""
    step = batch_size if len(owners) == 0 else 1
    for row in range(b if step > 1 else 0, len(grad), step):
        if len(owners) > 0 and owners[row] != b:
            continue
        _clear(grad[row])
