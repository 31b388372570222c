"""A whole sequence of SDNC: the loop over time, forward.

`sequence_forward` says how; the calls have the names and arguments of those there. The parts of a
step are those of `linked_forward`, `link_updates` and `link_following`.
"""

from typing import Any, NamedTuple

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.access_forward import put_units, search
from sam.fast.loops.access_queue import record_access
from sam.fast.loops.apart import apart
from sam.fast.loops.episode_starts import begin_rows, slots_held
from sam.fast.loops.kernel_arrays import FINISHED, NOT_FINITE, OUTSIDE
from sam.fast.loops.layers import control
from sam.fast.loops.link_following import flat_table
from sam.fast.loops.link_updates import renew, room_for
from sam.fast.loops.linked_arrays import LinkedSequence, Links, columns
from sam.fast.loops.linked_forward import mix_room, read_head, write_row
from sam.fast.loops.memory_loops import wait
from sam.fast.loops.numerics import exp, number, outside, sigmoid, softplus
from sam.fast.loops.sequence_forward import claim, pass_reads, show_written


class LinkedStep(NamedTuple):
    """The memory's part of a step; fields as in `LinkedSaved` and in `memory_loops.Step`."""

    active: Any
    controls: Any
    prev_slots: Any
    prev_values: Any
    lru_slots: Any
    write_slots: Any
    write_values: Any
    slots: Any
    values: Any
    words: Any
    reads: Any
    near: Any
    cosine: Any
    content: Any
    parts: Any
    found: Any


class StepRoom(NamedTuple):
    """The links' table, and what the steps of a thread work with."""

    table: Any
    renewing: Any  # see `link_updates.room_for`
    mixing: Any  # see `mix_room`


@inline
def _room(run: LinkedSequence) -> StepRoom:
    saved, links = run.saved, run.links
    batch_size, _, top_k = saved.slots.shape[1:]
    table = flat_table(links.values, links.incoming, links.outgoing, batch_size)
    return StepRoom(
        table,
        room_for(table, run.scratch.write_slots.shape[2]),
        mix_room(table.num_links, top_k, top_k, saved.values),
    )


@inline
def _step(t: int, run: LinkedSequence) -> LinkedStep:
    """The memory's part of step t."""
    saved, start, scratch = run.saved, run.start, run.scratch
    prev_slots = saved.slots[t - 1] if t > 0 else start.slots
    prev_values = saved.values[t - 1] if t > 0 else start.values
    if len(start.begins) > 0:  # see `begin_rows`
        prev_slots, prev_values = scratch.prev_slots, scratch.prev_values
    return LinkedStep(
        scratch.active,
        saved.controls[t],
        prev_slots,
        prev_values,
        saved.lru_slots[t],
        scratch.write_slots,
        scratch.write_values,
        saved.slots[t],
        saved.values[t],
        saved.words[t],
        saved.reads[t],
        saved.near[t],
        saved.cosine[t],
        saved.content[t],
        saved.parts[t],
        saved.found[t],
    )


@lean_inline
def _begin_rows(t: int, lo: int, hi: int, run: LinkedSequence) -> None:
    """`begin_rows` with the links, where there are starts."""
    links, batch_size = run.links, run.saved.hidden.shape[1]
    for b in range(lo, hi):
        if run.start.begins[t, b]:
            held = slots_held(b, run.scratch.held, run.memory.head, run.params.size)
            _drop_links(b, batch_size, held, links)
    begin_rows(t, lo, hi, run)


@apart
def _drop_links(b: int, batch_size: int, held: int, links: Links) -> None:
    """The links and the precedence of a row; `held` as from `slots_held`."""
    for row in range(2 * batch_size + b, len(links.values), batch_size):
        if row >= (2 + held) * batch_size:
            break
        values, incoming, outgoing = links.values[row], links.incoming[row], links.outgoing[row]
        for k in range(len(values)):
            values[k], incoming[k], outgoing[k] = 0, 0, 0
    recent, shares = links.recent[b, 0], links.shares[b, 0]
    for k in range(len(recent)):
        recent[k], shares[k] = -1, 0


@lean_inline
def squash(p: Any, heads: int, size: int, min_strength: float) -> None:
    """Softmax for the modes, sigmoid for the gates, `min_strength` + softplus for the strengths."""
    at = columns(heads, size)
    for r in range(heads):
        modes = p[at.modes + 3 * r : at.modes + 3 * r + 3]
        highest = max(modes[0], max(modes[1], modes[2]))
        total = number(p[0], 0.0)
        for i in range(3):
            modes[i] = exp(modes[i] - highest)
            total += modes[i]
        for i in range(3):
            modes[i] /= total
    for i in range(at.gates, at.gates + 2):
        p[i] = sigmoid(p[i])
    for i in range(at.strengths, len(p)):
        p[i] = softplus(p[i]) + number(p[i], min_strength)


@lean_inline
def _write_and_search(
    step: LinkedStep, lo: int, hi: int, run: LinkedSequence, room: StepRoom, exact: bool
) -> bool:
    """Write and links; with an exact index also the search. False if a number is not finite."""
    memory, links, params = run.memory, run.links, run.params
    heads, size = step.slots.shape[1], memory.store.shape[2]
    at = columns(heads, size)
    for b in range(lo, hi):
        if not step.active[b]:
            continue
        p, slots, values = step.controls[b], step.write_slots[b], step.write_values[b]
        squash(p, heads, size, params.min_strength)
        write_row(
            *(b, memory.store, step.prev_slots[b], step.prev_values[b], step.lru_slots[b, 0]),
            *(p[at.adds : at.gates], p[at.gates], p[at.gates + 1], slots[0], values[0]),
        )
        renew(
            *(b, room.table, links.recent[b, 0], links.shares[b, 0], slots[0], values[0]),
            *(links.decay_sources, room.renewing),
        )
        if exact:
            units, penalty, eps = memory.units, memory.penalty, params.eps
            if not put_units(b, slots, memory.store, units, penalty, eps):
                return False
            count = min(memory.head[b, 0], params.size)
            near, cosine, scores = step.near[b], step.cosine[b], memory.scores[b]
            if not search(b, p, units, penalty, count, near, cosine, eps, scores):
                return False
    return True


@lean_inline
def _finish(
    t: int, lo: int, hi: int, step: LinkedStep, run: LinkedSequence, room: StepRoom
) -> None:
    """A step from what was found on: links are followed, reads mixed, accesses recorded."""
    memory, params = run.memory, run.params
    (_, heads, top_k), size = step.slots.shape, memory.store.shape[2]
    at = columns(heads, size)
    accesses = heads * top_k + step.write_slots[0].size
    now = params.clock + (t + 1) * accesses - 1
    threshold = step.values.dtype.type(params.threshold)
    for b in range(lo, hi):
        if not step.active[b]:
            wait(b, step)
            for r in range(heads):
                for k in range(top_k):
                    step.near[b, r, k] = -1
            continue
        p = step.controls[b]
        for r in range(heads):
            strength = number(p[0], 1.0)
            if at.strengths < len(p):
                strength = p[at.strengths + r]
            read_head(
                *(b, memory.store, room.table, step.prev_slots[b, r], step.prev_values[b, r]),
                *(step.near[b, r], step.cosine[b, r], strength),
                *(p[at.modes + 3 * r : at.modes + 3 * r + 3], room.mixing),
                *(step.cosine[b, r], step.content[b, r], step.parts[b, r]),
                *(step.words[b, r], step.found[b, r]),
                *(step.reads[b, r * size : (r + 1) * size], step.values[b, r], step.slots[b, r]),
                run.links.sharpening,
            )
        record_access(
            *(memory.stamps[b], memory.total[b], step.slots[b], step.values[b]),
            *(step.write_slots[b], step.write_values[b], now, threshold),
        )
    pass_reads(lo, hi, step, run)


@jit
def unroll(first: int, lo: int, hi: int, run: LinkedSequence) -> tuple[int, int]:
    """All steps from `first` on of batch rows lo .. hi - 1, with an exact index."""
    if outside(run.start.slots[lo:hi], run.memory.stamps.shape[1] - 1):
        return first, OUTSIDE
    room = _room(run)
    for t in range(first, len(run.saved.hidden)):
        if len(run.start.begins) > 0:
            _begin_rows(t, lo, hi, run)
        step = _step(t, run)
        row = claim(t, lo, hi, step, run)
        if row >= 0:
            return t, row
        control(t, lo, hi, run)
        if not _write_and_search(step, lo, hi, run, room, True):
            return t, NOT_FINITE
        _finish(t, lo, hi, step, run, room)
    return len(run.saved.hidden), FINISHED


@jit
def advance(t: int, run: LinkedSequence, slots: Any, words: Any) -> int:
    """Step t of all rows up to the search, for an index that is asked from outside."""
    if outside(run.start.slots, run.memory.stamps.shape[1] - 1):
        return OUTSIDE
    batch_size = run.saved.hidden.shape[1]
    if len(run.start.begins) > 0:
        _begin_rows(t, 0, batch_size, run)
    step = _step(t, run)
    row = claim(t, 0, batch_size, step, run)
    if row >= 0:
        return row
    control(t, 0, batch_size, run)
    _write_and_search(step, 0, batch_size, run, _room(run), False)
    show_written(run, slots, words)
    return FINISHED


@jit
def finish(t: int, run: LinkedSequence) -> bool:
    """The rest of a step, once `saved.near[t]` and `saved.cosine[t]` hold what was found."""
    if outside(run.saved.near[t], run.memory.stamps.shape[1] - 1):
        return False
    _finish(t, 0, run.saved.hidden.shape[1], _step(t, run), run, _room(run))
    return True
