"""What a step changes in a sparse memory, and how a copy of the memory takes the step again.

A journal keeps what went into a memory, and what was found there: weights, slots, the words added,
and which accesses counted. Words are written and read once more from these, to the last bit,
whichever form of the step ran; see `sam.memory.word_journal`. Links are renewed anew by the
function that renewed them then.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import VectorIndex
from index.checks import keep_last
from index.digits import expanded
from index.journal import IndexUpdate, PastWords, note_update, redo_updates
from sam.memory.sam_state import SAMState
from sam.memory.sdnc import SDNCState
from sam.memory.word_journal import (
    PastWrite,
    Reads,
    Writes,
    note_reads,
    note_writes,
    read_again,
    write_again,
)
from sam.ops.sparse import SparseWeights
from sam.ops.sparse_links import SparseLinks
from sam.store.access_order import AccessOrder
from sam.store.companions import check_together, join
from sam.store.order_journal import (
    Accesses,
    note_accesses,
    redo_accesses,
    redo_sort,
    times_of,
)
from sam.store.word_store import WordStore


class SparseStep(NamedTuple):
    """A step of a `SAMMemory` or `SDNCMemory`, detached."""

    writes: Writes
    reads: Reads
    update: IndexUpdate  # of the index
    accesses: Accesses
    update_links: Any  # the compiled form that renewed the links; None without


def has_steps_noted(memory_state: Any) -> bool:
    """Whether this is a state whose steps can be kept; one with more in it would lose that."""
    return type(memory_state) in (SAMState, SDNCState)


def begin_note(state: Any) -> Tensor:
    """Before a step: has the words noted that it will add, and returns those it may add to.

    Returns:
        Words at the slots of w^R_{t-1}, [B, R K, W].

    Raises:
        StaleStateError, ShapeError: the state was consumed, or its parts are of several.
    """
    check_together(state)
    state.words.buffer.notes = True
    return state.words.peek(state.read_weights.slots.flatten(1), slot_bound=state.order.slot_bound)


def note_step(state: Any, before: Tensor, reads: Tensor, like: SparseStep | None) -> SparseStep:
    """What the last step has changed.

    Args:
        state: of a sparse memory, after a step that all batch rows took.
        before: what `begin_note` returned.
        reads: r, [B, R W].
        like: the step before, likely of the same form.

    Cost: O(B V J W + B R K W) time; V W + M + 2 B numbers at most, M = V J the slots written, and
    what is missing to the last bit. Away from the CPU it waits for the device.
    """
    words, read, bound = state.words, state.read_weights, state.order.slot_bound
    adds, words.buffer.notes, words.buffer.noted = words.buffer.noted, False, None
    write = SparseWeights(state.write_weights.slots, state.write_weights.values.detach())
    slots, shape = write.slots.flatten(1), (*write.slots.shape[:2], words.word_size)
    if adds is None or adds.shape != shape:  # a form of the step that says nothing of it
        adds = before.new_zeros(shape)
    after = words.peek(slots, slot_bound=bound)
    seen, links = words.peek(read.slots, slot_bound=bound), getattr(state, "links", None)
    return SparseStep(
        note_writes(before, write, adds, after, like is not None and like.writes.once),
        note_reads(
            seen, read.values.detach(), reads.detach(), like is not None and like.reads.once
        ),
        note_update(state.index, slots, after, None if like is None else like.update),
        note_accesses(state.order, _accessed(read, write)),
        getattr(links, "last_update", None),
    )


class TakenStep(NamedTuple):
    """What there is to do once more."""

    resets: tuple[Tensor, ...]  # batch rows that began anew before the step, bool [B]
    change: SparseStep
    read: SparseWeights  # w^R of the step
    write: SparseWeights  # w^W of the step


def redo_steps(state: Any, steps: Sequence[TakenStep], picked: Tensor | None) -> Any:
    """The state after steps were taken once more. Consumes `state`.

    The words are written one step after the other. All that is told to the index and to the order
    of access goes there at once, the last of a slot; only where the order was sorted, it has to be
    as it was then.

    Args:
        state: as the memory was before the first of them, of the rows picked.
        steps: at least one.
        picked: batch rows, int64 [n], or None for all.

    Cost: O(n V J W) a step, and O(N log N) where the order was sorted anew.
    """
    words = state.words
    for run in _runs(steps):
        words = _redo_run(words, state.order, state.index, run, picked)
    if hasattr(state, "links"):
        for step in steps:
            _redo_links(state.links, step, picked)
    read, write = (
        SparseWeights(*(_rows(part, picked) for part in weights)) for weights in steps[-1][2:]
    )
    return join(state._replace(words=words, read_weights=read, write_weights=write))


def _runs(steps: Sequence[TakenStep]) -> Iterator[Sequence[TakenStep]]:
    """Stretches that may begin with a sort, but have none inside."""
    edges = [i for i, step in enumerate(steps) if i == 0 or step.change.accesses.may_sort]
    for start, stop in zip(edges, [*edges[1:], len(steps)], strict=True):
        yield steps[start:stop]


def _redo_run(
    words: WordStore,
    order: AccessOrder,
    index: VectorIndex,
    run: Sequence[TakenStep],
    picked: Tensor | None,
) -> WordStore:
    """Words, order and index after a run; returns the next handle on the words."""
    changes = [step.change for step in run]
    first, last = changes[0].accesses, changes[-1].accesses
    for mask in run[0].resets:
        words = _reset(words, order, index, _rows(mask, picked))
    redo_sort(order, _rows(first.window, picked), first)

    # What a row did before it began anew, for the last time, is left out.
    since = torch.zeros(words.batch_size, dtype=torch.int64, device=first.window.device)
    for number, step in enumerate(run):
        for mask in step.resets if number else ():
            since.masked_fill_(_rows(mask, picked), number)
    if bool(since.any()):
        words = _reset(words, order, index, since > 0)

    written = _written([step.write.slots.flatten(1) for step in run], since, picked)
    _redo_writes(words, written, run, picked)
    put, widths = keep_last(written), [step.write.slots[0].numel() for step in run]
    high = max(change.accesses.high for change in changes)
    past = PastWords(put, words.peek(put, slot_bound=high), widths, picked)
    redo_updates(index, past, [change.update for change in changes])

    parts = [_accessed(step.read, step.write) for step in run]
    accessed, counts = _written(parts, since, picked), [part.shape[1] for part in parts]
    pairs = zip(changes, counts, strict=True)
    times = torch.cat([times_of(change.accesses, count) for change, count in pairs], 1)
    redo_accesses(order, accessed, _rows(times, picked), _rows(last.window, picked), last)
    return words.advance(None, None)


def _redo_writes(
    words: WordStore, written: Tensor, run: Sequence[TakenStep], picked: Tensor | None
) -> None:
    """Words after a run.

    Args:
        words: changed in place.
        written: the slots of all steps side by side, int64 [n, M].
        run: the steps.
        picked: which batch rows, or None.
    """
    rows = words.rows_of(written, max(step.change.accesses.high for step in run))
    widths = [step.write.slots[0].numel() for step in run]
    parts = zip(run, written.split(widths, 1), rows.view_as(written).split(widths, 1), strict=True)
    past = []
    for step, slots, places in parts:
        writes, shape = step.change.writes, (len(slots), *step.write.slots.shape[1:])
        past.append(
            PastWrite(
                slots.reshape(shape),
                places.reshape(shape),
                _rows(step.write.values, picked),
                _rows(writes.adds, picked),
                writes.once,
                None if writes.digits is None else _rows(expanded(writes.digits), picked),
            )
        )
    write_again(words.buffer.flat(), past)


def _reset(words: WordStore, order: AccessOrder, index: VectorIndex, mask: Tensor) -> WordStore:
    order.reset(mask)
    index.reset(mask)
    return words.reset(mask)


def _written(parts: Sequence[Tensor], since: Tensor, picked: Tensor | None) -> Tensor:
    """Slots of steps 0, 1, ... side by side, -1 where a row began anew later; int64 [n, M].

    Args:
        parts: of each step, [B, M_t].
        since: the step with which a row last began anew, int64 [n].
        picked: which rows, or None.
    """
    slots = _rows(torch.cat([*parts], 1), picked).long()
    widths = torch.tensor([part.shape[1] for part in parts])
    step = torch.arange(len(parts)).repeat_interleave(widths).to(slots.device)
    return slots.masked_fill(step < since.unsqueeze(1), -1)


def _redo_links(links: SparseLinks, step: TakenStep, picked: Tensor | None) -> None:
    for mask in step.resets:
        links.reset(_rows(mask, picked))
    written = (_rows(part[:, 0], picked) for part in step.write)
    high, again = step.change.accesses.high, step.change.update_links
    if again is None:
        links.update(*written, slot_bound=high)
    else:
        links.reserve(high)
        again(links, *written)


def _rows(part: Any, picked: Tensor | None) -> Any:
    return part if part is None or picked is None else part.index_select(0, picked)


def compact(slots: Tensor, memory_size: int) -> Tensor:
    """A copy of slots below `memory_size`, in 16 or 32 bits where they fit."""
    kinds = (torch.int16, torch.int32, torch.int64)
    fits = next(kind for kind in kinds if memory_size <= 1 + torch.iinfo(kind).max)
    return slots.to(fits, copy=True)


def reads_after(state: Any, step: SparseStep, picked: Tensor | None) -> Tensor:
    """r of a step, [n, R W], from the memory as it was after it."""
    read = state.read_weights
    words = state.words.peek(read.slots, slot_bound=state.order.slot_bound)
    return read_again(words, read.values, step.reads, picked)


def _accessed(read: SparseWeights, write: SparseWeights) -> Tensor:
    """What a step accessed, from the latest to the earliest, [B, R K + V J]."""
    return torch.cat([read.slots.flatten(1), write.slots.flatten(1)], 1)
