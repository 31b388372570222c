"""What a step changes in a sparse memory, and how a copy of the memory takes the step again.

A journal keeps what came out of a step, the words written and not how they were computed, so it
does not matter which form of the step ran. Only links are renewed anew, by the function that
renewed them then: what goes into it is known, and what it changes is spread over many rows.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import VectorIndex
from index.checks import keep_last
from index.journal import IndexUpdate, note_update, redo_updates
from sam.memory.sam_state import SAMState
from sam.memory.sdnc import SDNCState
from sam.ops.sparse import SparseWeights
from sam.ops.sparse_links import SparseLinks
from sam.store.access_order import AccessOrder
from sam.store.companions import join
from sam.store.order_journal import Accesses, note_accesses, redo_accesses, redo_sort
from sam.store.word_store import WordStore


class SparseStep(NamedTuple):
    """A step of a `SAMMemory` or `SDNCMemory`, detached."""

    slots: Tensor  # written to, each once a row, [B, M]; -1 where a row has fewer
    words: Tensor  # what they hold after the step, [B, M, W]
    update: IndexUpdate  # of the index
    accesses: Accesses
    update_links: Any  # the compiled form that renewed the links; None without


def has_steps_noted(memory_state: Any) -> bool:
    """Whether this is a state whose steps can be kept; one with more in it would lose that."""
    return type(memory_state) in (SAMState, SDNCState)


def note_step(state: Any) -> SparseStep:
    """What the last step has changed.

    Args:
        state: of a sparse memory, after a step that all batch rows took.

    Cost: O(B V J W) time, M W + 2 B numbers at most, M the different slots written. Away from the
    CPU it waits for the device.
    """
    slots = _different(state.write_weights.slots.flatten(1))
    words = state.words.peek(slots, slot_bound=state.order.slot_bound)
    links = getattr(state, "links", None)
    return SparseStep(
        compact(slots, state.words.memory_size),
        words,
        note_update(state.index, slots, words),
        note_accesses(state.order, _accessed(state.read_weights, state.write_weights)),
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

    All words written go to their places at once, the last one of a slot. Only where the order of
    access was sorted, it has to be as it was then.

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

    slots = keep_last(_written([change.slots for change in changes], since, picked))
    new_words = _rows(torch.cat([change.words for change in changes], 1), picked)
    new_words = new_words.masked_fill(slots.unsqueeze(2) < 0, 0.0)
    high = max(change.accesses.high for change in changes)
    rows = words.rows_of(slots, high)
    words.buffer.flat().index_copy_(0, rows, new_words.flatten(0, 1))
    digits = _rows(_digits(changes), picked)
    redo_updates(index, slots, new_words, digits, changes[-1].update)

    accessed = _written([_accessed(step.read, step.write) for step in run], since, picked)
    times = _rows(torch.cat([_times(change.accesses) for change in changes], 1), picked)
    redo_accesses(order, accessed, times, _rows(last.window, picked), last)
    return words.advance(None, None)


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


def _digits(changes: Sequence[SparseStep]) -> Tensor | None:
    """Those of all updates side by side."""
    parts = [change.update.digits for change in changes]
    if all(part is None for part in parts):
        return None
    words = (change.words for change in changes)
    none = (torch.zeros_like(word, dtype=torch.int8) for word in words)
    return torch.cat(
        [zeros if part is None else part for part, zeros in zip(parts, none, strict=True)], 1
    )


def _times(accesses: Accesses) -> Tensor:
    """Of the accesses of a step, -1 for those that did not count, [B, M]."""
    counted, clock = accesses.counted, accesses.clock
    times = torch.arange(clock - 1, clock - 1 - counted.shape[1], -1, device=counted.device)
    return torch.where(counted, times, -1)


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
    """A copy of slots below `memory_size`, in 32 bits where they fit."""
    return slots.to(torch.int32 if memory_size <= 2**31 else torch.int64, copy=True)


def _accessed(read: SparseWeights, write: SparseWeights) -> Tensor:
    """What a step accessed, from the latest to the earliest, [B, R K + V J]."""
    return torch.cat([read.slots.flatten(1), write.slots.flatten(1)], 1)


def _different(slots: Tensor) -> Tensor:
    """Each slot of a row once, [B, M] from [B, J], -1 where a row has fewer than others."""
    slots = keep_last(slots).sort(1, descending=True).values
    return slots[:, : int((slots >= 0).sum(1).max()) if slots.numel() else 0]
