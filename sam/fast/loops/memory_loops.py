"""One step of SAM's memory, for any controller: the compiled twin of `SAMMemory.step`.

With an exact index one call forward and one backward; another index is asked between two calls.
"""

from typing import Any, NamedTuple

from index.compiled import inline, jit
from sam.fast.loops.access_backward import read_backward, write_backward
from sam.fast.loops.access_forward import put_units, read, search, squash, write
from sam.fast.loops.access_queue import find_oldest, touch
from sam.fast.loops.kernel_arrays import FINISHED, NOT_FINITE, OUTSIDE, KernelParams, Memory
from sam.fast.loops.numerics import outside


class Step(NamedTuple):
    """Of one step, [B, ...] each; all but the first four are filled in."""

    active: Any  # rows that take the step, bool [B], or [0] if all do
    controls: Any  # what the interface put out; squashed; on the way back their gradients, [.. P]
    at: int  # column of `controls` with which they begin; what stands before is not theirs
    before: Any  # slots read at the last step, [H, K]
    before_values: Any  # their weights, [H, K]
    oldest: Any  # slots written over, [V]
    write_slots: Any  # [V, J]
    write_values: Any  # w^W, [V, J]
    slots: Any  # read, [H, K]
    cosine: Any  # D, [H, K]
    values: Any  # w^R, [H, K]
    words: Any  # read, [H, K, W]
    reads: Any  # r, [H W]
    rows: Any  # of the store: of `slots` and `before`, [2, H, K]
    oldest_rows: Any  # of the store, [V]


class StepSaved(NamedTuple):
    """What the way back needs of a step; fields as in `Step`."""

    active: Any
    controls: Any
    at: int
    before_values: Any
    cosine: Any
    values: Any
    words: Any


class StepBack(NamedTuple):
    """Of the way back."""

    places: Any  # of `Step.rows` in G, [B, 2, H, K]
    oldest: Any  # of `Step.oldest_rows` in G, [B, V]
    reads: Any  # gradient of r, [B, H W]
    values: Any  # gradient of w^R; then of w^R_{t-1}, [B, H, K]
    memory: Any  # G
    held: Any  # room for a word, [W]


@inline
def _takes(b: int, active: Any) -> bool:
    return len(active) == 0 or active[b]


@jit
def begin_step(step: Step, memory: Memory, numbers: KernelParams, exact: bool) -> tuple[int, int]:
    """The write; with an exact index the whole step.

    Returns:
        FINISHED, or the batch row whose order must be sorted first, or NOT_FINITE, or OUTSIDE for a
        slot read before; and how many slots some memory has handed out at most.
    """
    return begin(step, memory, numbers, exact)


@inline
def begin(step: Step, memory: Memory, numbers: KernelParams, exact: bool) -> tuple[int, int]:
    """What `begin_step` does, as a part of other functions."""
    batch_size, heads = step.slots.shape[:2]
    highest = 0
    if outside(step.before, memory.stamps.shape[1] - 1):
        return OUTSIDE, 0
    for b in range(batch_size):
        if _takes(b, step.active):
            head = find_oldest(
                step.oldest[b],
                memory.pending[b],
                memory.stamps[b],
                memory.queue[b],
                memory.head[b, 0],
                memory.end[b, 0],
                memory.epoch[b, 0],
                numbers.size,
            )
            if head < 0:
                return b, 0
            memory.head[b, 0] = head
        highest = max(highest, min(memory.head[b, 0], numbers.size))
    for b in range(batch_size):
        if not _takes(b, step.active):
            _wait(b, step)
            continue
        size, writes = memory.store.shape[2], step.oldest.shape[1]
        controls = step.controls[b, step.at :]
        squash(controls, heads, writes, size, numbers.least)
        write(
            b,
            controls,
            step.before[b],
            step.before_values[b],
            step.oldest[b],
            step.write_slots[b],
            step.write_values[b],
            memory.store,
        )
        if exact:
            units, penalty = memory.units, memory.penalty
            slots = step.write_slots[b]
            if not put_units(b, slots, memory.store, units, penalty, numbers.eps):
                return NOT_FINITE, highest
            count = min(memory.head[b, 0], numbers.size)
            if not search(
                b,
                controls,
                units,
                penalty,
                count,
                step.slots[b],
                step.cosine[b],
                numbers.eps,
            ):
                return NOT_FINITE, highest
            _finish(b, step, memory, numbers)
    return FINISHED, highest


@jit
def end_step(step: Step, memory: Memory, numbers: KernelParams) -> bool:
    """The read, once `slots` and `cosine` hold what was found; False if a slot is out of range."""
    return end(step, memory, numbers)


@inline
def end(step: Step, memory: Memory, numbers: KernelParams) -> bool:
    """What `end_step` does, as a part of other functions."""
    if outside(step.slots, memory.stamps.shape[1] - 1):
        return False
    for b in range(len(step.slots)):
        if _takes(b, step.active):
            _finish(b, step, memory, numbers)
    return True


@inline
def _finish(b: int, step: Step, memory: Memory, numbers: KernelParams) -> None:
    read(
        b,
        step.controls[b, step.at :],
        step.slots[b],
        step.cosine[b],
        step.values[b],
        step.words[b],
        step.reads[b],
        memory.store,
    )
    accesses = step.slots[0].size + step.write_slots[0].size
    touch(
        memory.stamps[b],
        memory.total[b],
        step.slots[b],
        step.values[b],
        step.write_slots[b],
        step.write_values[b],
        numbers.clock + accesses - 1,
        step.values.dtype.type(numbers.threshold),
    )
    _rows(b, step)


@inline
def _wait(b: int, step: Step) -> None:
    """A row that does not take the step."""
    for head in range(step.slots.shape[1]):
        for k in range(step.slots.shape[2]):
            step.slots[b, head, k] = step.before[b, head, k]
            step.values[b, head, k] = step.before_values[b, head, k]
            step.cosine[b, head, k] = 0
    for v in range(step.oldest.shape[1]):
        step.oldest[b, v] = -1
    for j in range(step.reads.shape[1]):
        step.reads[b, j] = 0
    _rows(b, step)


@inline
def _rows(b: int, step: Step) -> None:
    """Rows of the store, (1 + slot) B + b."""
    batch_size = len(step.slots)
    for head in range(step.slots.shape[1]):
        for k in range(step.slots.shape[2]):
            step.rows[b, 0, head, k] = (1 + step.slots[b, head, k]) * batch_size + b
            step.rows[b, 1, head, k] = (1 + step.before[b, head, k]) * batch_size + b
    for v in range(step.oldest.shape[1]):
        step.oldest_rows[b, v] = (1 + step.oldest[b, v]) * batch_size + b


@jit
def step_backward(step: StepSaved, back: StepBack, least: float, eps: float) -> None:
    """The way back through a step; its controls become their gradients."""
    backward(step, back, least, eps)


@inline
def backward(step: StepSaved, back: StepBack, least: float, eps: float) -> None:
    """What `step_backward` does, as a part of other functions."""
    for b in range(len(step.cosine)):
        p = step.controls[b, step.at :]
        if not _takes(b, step.active):
            for i in range(len(p)):
                p[i] = 0
            continue
        read_backward(
            p,
            back.places[b, 0],
            step.cosine[b],
            step.values[b],
            step.words[b],
            back.reads[b],
            back.values[b],
            back.memory,
            back.held,
            least,
            eps,
        )
        write_backward(
            p,
            step.before_values[b],
            back.places[b, 1],
            back.oldest[b],
            back.values[b],
            back.memory,
            back.held,
        )
