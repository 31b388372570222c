"""One step of SAM's memory, for any controller: the compiled form of `SAMMemory.step`.

Its phases take batch rows lo .. hi - 1 and are shared by a step on its own, by that of a cell
(`cell_loops`) and by the steps of a sequence (`sequence_forward`). With an exact index one call
makes all of them; another index is asked between two calls.
"""

from typing import Any, NamedTuple

from index.compiled import lean_inline, lean_jit
from sam.fast.loops.access_backward import read_backward, write_backward
from sam.fast.loops.access_forward import put_units, read, search, squash, write
from sam.fast.loops.access_queue import find_lru, record_access
from sam.fast.loops.expected import expect_grads, expect_words, expect_written
from sam.fast.loops.kernel_arrays import FINISHED, NOT_FINITE, OUTSIDE, KernelParams, Memory
from sam.fast.loops.numerics import outside


class Step(NamedTuple):
    """Of one step, [B, ...] each; what stands behind `prev_values` is filled in."""

    active: Any  # rows that take the step, bool [B], or [0] if all do
    controls: Any  # what the interface put out; squashed; at last their gradients, [.. P]
    at: int  # column of `controls` with which they begin; what stands before is not theirs
    prev_slots: Any  # read at the last step, [H, K]
    prev_values: Any  # w^R_{t-1}, [H, K]
    lru_slots: Any  # slots written over, -1 in rows that wait, [V]
    write_slots: Any  # [V, J]; rows that wait keep theirs
    write_values: Any  # w^W, [V, J]; rows that wait keep theirs
    slots: Any  # read, [H, K]
    cosine: Any  # D, [H, K]
    values: Any  # w^R, [H, K]
    words: Any  # read, [H, K, W]
    reads: Any  # r, [H W]; 0 in rows that wait


class Rows(NamedTuple):
    """Rows of the store that a step touched; in the backward pass their rows in G."""

    read: Any  # of `Step.slots`, [B, H, K]
    prev: Any  # of `Step.prev_slots`, [B, H, K]
    lru: Any  # of `Step.lru_slots`, [B, V]


class StepSaved(NamedTuple):
    """What the backward pass needs of a step; fields as in `Step`."""

    active: Any
    controls: Any
    at: int
    prev_values: Any
    cosine: Any
    values: Any
    words: Any


class StepGrads(NamedTuple):
    """Of the backward pass."""

    reads: Any  # gradient of r, [B, H W] or wider
    values: Any  # gradient of w^R; becomes that of w^R_{t-1}, [B, H, K]
    memory: Any  # G
    word: Any  # room for a word, [W]


@lean_inline
def is_active(b: int, active: Any) -> bool:
    """Whether a row takes the step."""
    return len(active) == 0 or active[b]


@lean_inline
def claim_slots(step: Step, lo: int, hi: int, memory: Memory, params: KernelParams) -> int:
    """Takes the slots to write over.

    Returns FINISHED, or the batch row whose order must be sorted before this is called again.
    """
    return _claim(step.lru_slots, step.active, lo, hi, memory, params.size)


@lean_inline
def _claim(lru_slots: Any, active: Any, lo: int, hi: int, memory: Memory, size: int) -> int:
    for b in range(lo, hi):
        if is_active(b, active):
            head = find_lru(
                lru_slots[b],
                memory.pending[b],
                memory.stamps[b],
                memory.queue[b],
                memory.head[b, 0],
                memory.end[b, 0],
                memory.epoch[b, 0],
                size,
            )
            if head < 0:
                return b
            memory.head[b, 0] = head
    return FINISHED


@lean_inline
def write_and_search(
    step: Step, lo: int, hi: int, memory: Memory, params: KernelParams, exact: bool
) -> bool:
    """The write; with an exact index also the search. False if a word or key is not finite."""
    heads, writes, size = step.slots.shape[1], step.lru_slots.shape[1], memory.store.shape[2]
    for b in range(lo, hi):
        expect_written(b + 1, lo, hi, step, memory, exact)
        if not is_active(b, step.active):
            continue
        controls = step.controls[b, step.at :]
        squash(controls, heads, writes, size, params.min_strength)
        write(
            b,
            controls,
            step.prev_slots[b],
            step.prev_values[b],
            step.lru_slots[b],
            step.write_slots[b],
            step.write_values[b],
            memory.store,
        )
        if exact:
            units, penalty, slots = memory.units, memory.penalty, step.write_slots[b]
            if not put_units(b, slots, memory.store, units, penalty, params.eps):
                return False
            count = min(memory.head[b, 0], params.size)
            found, cosine, room = step.slots[b], step.cosine[b], memory.scores[b]
            if not search(b, controls, units, penalty, count, found, cosine, params.eps, room):
                return False
    return True


@lean_inline
def read_and_record(
    step: Step, lo: int, hi: int, memory: Memory, params: KernelParams, clock: int
) -> None:
    """The read, and the times of access; a row that waits keeps its last weights.

    `clock` is the time before the step.
    """
    accesses = step.slots[0].size + step.write_slots[0].size
    threshold = step.values.dtype.type(params.threshold)
    for b in range(lo, hi):
        if b + 1 < hi:
            expect_words(step.slots[b + 1], memory.store, (b + 1) * memory.store.shape[2])
        if not is_active(b, step.active):
            wait(b, step)
            continue
        controls = step.controls[b, step.at :]
        read(
            b,
            controls,
            step.slots[b],
            step.cosine[b],
            step.values[b],
            step.words[b],
            step.reads[b],
            memory.store,
        )
        record_access(
            memory.stamps[b],
            memory.total[b],
            step.slots[b],
            step.values[b],
            step.write_slots[b],
            step.write_values[b],
            clock + accesses - 1,
            threshold,
        )


@lean_inline
def wait(b: int, step: Any) -> None:
    """A row that does not take the step."""
    for head in range(step.slots.shape[1]):
        for k in range(step.slots.shape[2]):
            step.slots[b, head, k] = step.prev_slots[b, head, k]
            step.values[b, head, k] = step.prev_values[b, head, k]
            step.cosine[b, head, k] = 0
    for v in range(step.lru_slots.shape[1]):
        step.lru_slots[b, v] = -1
    for j in range(step.reads.shape[1]):
        step.reads[b, j] = 0


@lean_inline
def backward(
    step: StepSaved,
    rows: Rows,
    grads: StepGrads,
    lo: int,
    hi: int,
    min_strength: float,
    eps: float,
) -> None:
    """The backward pass of a step; its controls become their gradients."""
    for b in range(lo, hi):
        if b + 1 < hi:
            expect_grads(rows, b + 1, grads.memory)
        p = step.controls[b, step.at :]
        if not is_active(b, step.active):
            for i in range(len(p)):
                p[i] = 0
            continue
        read_backward(
            p,
            rows.read[b],
            step.cosine[b],
            step.values[b],
            step.words[b],
            grads.reads[b],
            grads.values[b],
            grads.memory,
            grads.word,
            min_strength,
            eps,
        )
        write_backward(
            p,
            step.prev_values[b],
            rows.prev[b],
            rows.lru[b],
            grads.values[b],
            grads.memory,
            grads.word,
        )


@lean_inline
def begin(
    step: Step, rows: Rows, memory: Memory, params: KernelParams, exact: bool
) -> tuple[int, int]:
    """What `begin_step` does, as a part of other functions."""
    if outside(step.prev_slots, memory.stamps.shape[1] - 1):
        return OUTSIDE, 0
    batch_size = len(step.slots)
    row = claim_slots(step, 0, batch_size, memory, params)
    if row >= 0:
        return row, 0
    highest = 0
    for b in range(batch_size):
        highest = max(highest, min(memory.head[b, 0], params.size))
    if not write_and_search(step, 0, batch_size, memory, params, exact):
        return NOT_FINITE, highest
    if exact:
        _read(step, rows, memory, params)
    return FINISHED, highest


@lean_inline
def end(step: Step, rows: Rows, memory: Memory, params: KernelParams) -> bool:
    """What `end_step` does, as a part of other functions."""
    if outside(step.slots, memory.stamps.shape[1] - 1):
        return False
    _read(step, rows, memory, params)
    return True


@lean_inline
def _read(step: Step, rows: Rows, memory: Memory, params: KernelParams) -> None:
    """`read_and_record` for all batch rows, and rows of the store, (1 + slot) B + b."""
    batch_size = len(step.slots)
    read_and_record(step, 0, batch_size, memory, params, params.clock)
    for b in range(batch_size):
        for head in range(step.slots.shape[1]):
            for k in range(step.slots.shape[2]):
                rows.read[b, head, k] = (1 + step.slots[b, head, k]) * batch_size + b
                rows.prev[b, head, k] = (1 + step.prev_slots[b, head, k]) * batch_size + b
        for v in range(step.lru_slots.shape[1]):
            rows.lru[b, v] = (1 + step.lru_slots[b, v]) * batch_size + b


@lean_jit
def claim_rows(lru_slots: Any, active: Any, memory: Memory, size: int) -> int:
    """As `claim_slots`, which takes the same slots after it.

    Args:
        lru_slots: where they go, int64 [B, V].
        active: rows that take the step, bool [B]; [0] is all.
        memory: the arrays.
        size: N.
    """
    return _claim(lru_slots, active, 0, len(lru_slots), memory, size)


@lean_jit
def begin_step(
    step: Step, rows: Rows, memory: Memory, params: KernelParams, exact: bool
) -> tuple[int, int]:
    """The write; with an exact index the whole step.

    Returns:
        FINISHED, or the batch row whose order must be sorted first, or NOT_FINITE, or OUTSIDE for a
        slot read before; and how many slots some memory has handed out at most.
    """
    return begin(step, rows, memory, params, exact)


@lean_jit
def end_step(step: Step, rows: Rows, memory: Memory, params: KernelParams) -> bool:
    """The read, once `slots` and `cosine` hold what was found; False if a slot is out of range."""
    return end(step, rows, memory, params)


@lean_jit
def step_backward(
    step: StepSaved, rows: Rows, grads: StepGrads, min_strength: float, eps: float
) -> None:
    """The backward pass of a step of all batch rows."""
    backward(step, rows, grads, 0, len(step.cosine), min_strength, eps)
