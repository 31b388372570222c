"""A whole sequence of SAM: the loop over time, forward.

Batch rows lo .. hi - 1 are taken together, so that threads share a batch without waiting for one
another. Products with the inputs, and all gradients of weights, are made outside, for all steps
at once; inside remain the two products that need the last step's results.

What does not depend on the memory (`claim`, `pass_reads`, `show_written`, `layers.control`)
is shared with `linked_sequence_forward`; there steps and runs have further fields.
"""

from typing import Any

from index.compiled import lean_inline, lean_jit
from sam.fast.loops.kernel_arrays import FINISHED, NOT_FINITE, OUTSIDE, Sequence
from sam.fast.loops.layers import control
from sam.fast.loops.memory_loops import Step, claim_slots, read_and_record, write_and_search
from sam.fast.loops.numerics import outside


@lean_inline
def _step(t: int, run: Sequence) -> Step:
    """The memory's part of step t."""
    saved, start, scratch = run.saved, run.start, run.scratch
    return Step(
        scratch.active,
        saved.controls[t],
        0,
        saved.slots[t - 1] if t > 0 else start.slots,
        saved.values[t - 1] if t > 0 else start.values,
        saved.lru_slots[t],
        scratch.write_slots,
        scratch.write_values,
        saved.slots[t],
        saved.cosine[t],
        saved.values[t],
        saved.words[t],
        saved.reads[t],
    )


@lean_inline
def claim(t: int, lo: int, hi: int, step: Any, run: Any) -> int:
    """Records which rows take step t; the slots they write over, as `claim_slots`."""
    for b in range(lo, hi):
        step.active[b] = t < run.start.lengths[b]
    return claim_slots(step, lo, hi, run.memory, run.params)


@lean_inline
def _finish(t: int, lo: int, hi: int, step: Step, run: Sequence) -> None:
    """A step from what was found on; what is read goes to the next one, or stays."""
    accesses = step.slots[0].size + step.write_slots[0].size
    clock = run.params.clock + t * accesses
    read_and_record(step, lo, hi, run.memory, run.params, clock)
    pass_reads(lo, hi, step, run)


@lean_inline
def pass_reads(lo: int, hi: int, step: Any, run: Any) -> None:
    """What was read goes to the next step's controller; in rows that wait it stays."""
    for b in range(lo, hi):
        reads, both = step.reads[b], run.scratch.both[b]
        if step.active[b]:
            for j in range(len(reads)):
                both[j] = reads[j]
        else:
            for j in range(len(reads)):
                reads[j] = both[j]


@lean_jit
def unroll(first: int, lo: int, hi: int, run: Sequence) -> tuple[int, int]:
    """All steps from `first` on of batch rows lo .. hi - 1, with an exact index.

    Returns:
        The number of steps and FINISHED. Or the step where it stopped, and the batch row whose
        order has to be sorted before the loop can begin again with that step. Or that step and
        NOT_FINITE, for a word or key; or OUTSIDE, for a slot read before the first step.
    """
    if outside(run.start.slots[lo:hi], run.memory.stamps.shape[1] - 1):
        return first, OUTSIDE
    for t in range(first, len(run.saved.hidden)):
        step = _step(t, run)
        row = claim(t, lo, hi, step, run)
        if row >= 0:
            return t, row
        control(t, lo, hi, run)
        if not write_and_search(step, lo, hi, run.memory, run.params, True):
            return t, NOT_FINITE
        _finish(t, lo, hi, step, run)
    return len(run.saved.hidden), FINISHED


@lean_inline
def show_written(run: Any, slots: Any, words: Any) -> None:
    """What a step of all rows has written, for an index told from outside; see `advance`."""
    scratch, store = run.scratch, run.memory.store
    width = scratch.write_slots.shape[2]
    for b in range(len(slots)):
        for i in range(slots.shape[1]):
            slots[b, i] = -1
            if scratch.active[b]:
                slots[b, i] = scratch.write_slots[b, i // width, i % width]
            word, out = store[1 + slots[b, i], b], words[b, i]
            for j in range(len(out)):
                out[j] = word[j]


@lean_jit
def advance(t: int, run: Sequence, slots: Any, words: Any) -> int:
    """Step t of all rows up to the search, for an index that is asked from outside.

    Args:
        t: which step.
        run: the arrays.
        slots, words: where it goes what was written, [B, V J] and [B, V J, W]; slots are -1 in
            rows that do not take part.

    Returns:
        FINISHED, or the batch row whose order has to be sorted first; or OUTSIDE, for a slot read
        before the first step.
    """
    if outside(run.start.slots, run.memory.stamps.shape[1] - 1):
        return OUTSIDE
    batch_size = run.saved.hidden.shape[1]
    step = _step(t, run)
    row = claim(t, 0, batch_size, step, run)
    if row >= 0:
        return row
    control(t, 0, batch_size, run)
    write_and_search(step, 0, batch_size, run.memory, run.params, False)
    show_written(run, slots, words)
    return FINISHED


@lean_jit
def finish(t: int, run: Sequence) -> bool:
    """The rest of a step, once `saved.slots[t]` and `saved.cosine[t]` hold what was found.

    Returns False if a slot is out of range.
    """
    if outside(run.saved.slots[t], run.memory.stamps.shape[1] - 1):
        return False
    _finish(t, 0, run.saved.hidden.shape[1], _step(t, run), run)
    return True
