"""One call over a sequence of SAM's steps: its buffers, and the loops that fill them."""

import math
import threading
from typing import NamedTuple

import torch
from torch import Tensor

from index import VectorIndex
from sam.fast.array_views import ArrayViews, as_arrays
from sam.fast.cell_tensors import Parameters, RecurrentState
from sam.fast.loops import sequence_forward as sequence
from sam.fast.loops.kernel_arrays import (
    FINISHED,
    NOT_FINITE,
    OUTSIDE,
    KernelParams,
    SavedForBackward,
    Scratch,
    Start,
    Weights,
)
from sam.fast.step_request import check_found_slots, slot_range_error
from sam.fast.threads import in_threads
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore


class SequenceRequest(NamedTuple):
    """What is run, beside the tensors that get gradients. The memory is changed in place."""

    store: WordStore
    order: AccessOrder
    index: VectorIndex
    slots: Tensor  # of w^R before the first step, int64 [B, H, K]
    write: SparseWeights  # of the step before; what a row without a step keeps
    lengths: Tensor | None  # steps of each batch row, int64 [B]; None is all of them
    threshold: float  # delta
    least: float  # of the strengths' activation


class SequenceResult(NamedTuple):
    """What came out."""

    hidden: Tensor  # h, [T, B, C]; 0 where a row has ended
    reads: Tensor  # r, [T, B, H W]; the last one where a row has ended
    last: RecurrentState
    read: SparseWeights  # w^R of the last step
    write: SparseWeights  # w^W of the last step
    store: WordStore


_CONTIGUOUS = torch.contiguous_format


class Run:
    """One call: its buffers, and the loop that fills them."""

    def __init__(self, given: SequenceRequest, shape: torch.Size) -> None:
        self.given, self.shape = given, shape
        self.kept: dict[str, Tensor] = {}
        self.read: SparseWeights | None = None

    def forward(
        self, inputs: Tensor, before: RecurrentState, parameters: Parameters
    ) -> RecurrentState:
        """Runs all steps; `kept` has what the backward pass needs."""
        steps, batch_size, width = self.shape
        given = self.given
        heads, most = given.slots.shape[1:]
        units, word_size = before.hidden.shape[1], given.store.word_size
        writes = given.order.count
        shapes = {
            "gates": (4 * units,),
            "cells": (units,),
            "controls": (len(parameters.bias),),
            "cosine": (heads, most),
            "values": (heads, most),
            "words": (heads, most, word_size),
        }
        self.kept = kept = _together(inputs, self.shape[:2], shapes)
        new, count = inputs.new_empty, given.slots.new_empty
        kept["hidden"] = new(steps, batch_size, units)
        kept["reads"] = new(steps, batch_size, heads * word_size)
        kept["slots"] = count(steps, batch_size, heads, most)
        kept["oldest"] = count(steps, batch_size, writes)
        torch.addmm(
            parameters.bias_ih + parameters.bias_hh,
            inputs.reshape(-1, width),
            parameters.weight_ih[:, :width].t(),
            out=kept["gates"].view(-1, 4 * units),
        )
        recurrent = torch.cat([parameters.weight_ih[:, width:], parameters.weight_hh], 1)
        weights = Weights(
            *as_arrays(recurrent.t().contiguous(), parameters.weight.t().contiguous()),
            *as_arrays(parameters.bias),
        )
        both = torch.cat([before.reads, before.hidden], 1)
        write = SparseWeights(*(part.clone(memory_format=_CONTIGUOUS) for part in given.write))
        lengths = given.lengths
        if lengths is None:
            lengths = given.slots.new_full((batch_size,), steps)
        start = Start(
            *as_arrays(before.cell.contiguous(), given.slots.contiguous()),
            *as_arrays(before.values.contiguous(), lengths),
        )
        arrays = SavedForBackward(**{name: part.numpy() for name, part in kept.items()})
        scratch = Scratch(*as_arrays(both, *write))
        memory = _Memory(given, steps, inputs.dtype)
        with given.store.buffer.changing():
            if memory.views.exact:
                in_threads(
                    lambda lo, hi: _exactly(memory, arrays, start, weights, scratch, lo, hi),
                    batch_size,
                )
            else:
                _with_index(memory, kept, arrays, start, weights, scratch)
        memory.commit_steps(steps)
        self.write = write
        values, slots = kept["values"], kept["slots"]
        self.read = SparseWeights(slots[-1].clone(), values[-1].clone())
        reads, hidden = both.split([heads * word_size, units], 1)
        return RecurrentState(
            hidden.clone(), kept["cells"][-1].clone(), reads.clone(), self.read.values
        )

    def result(
        self, hidden: Tensor, reads: Tensor, last: RecurrentState, store: WordStore
    ) -> SequenceResult:
        assert self.read is not None
        read = SparseWeights(self.read.slots, last.values)
        return SequenceResult(hidden, reads, last, read, self.write, store)


class _Memory:
    """The memory's arrays of one call, and the settings."""

    def __init__(self, given: SequenceRequest, steps: int, dtype: torch.dtype) -> None:
        self.given, self.clock = given, given.order.clock
        self.high = given.order.high
        self.views = ArrayViews(given.store, given.order, given.index, steps, dtype)
        self.numbers = KernelParams(
            given.store.memory_size, self.clock, given.threshold, given.least, EPS
        )
        self._accesses = given.slots[0].numel() + given.write.slots[0].numel()
        self._lock = threading.Lock()

    def sort(self, step: int, row: int) -> None:
        """Sorts the order of a batch row that is used up at a step."""
        with self._lock:
            self.views.sort(self.clock + step * self._accesses, row)

    def commit_steps(self, steps: int) -> None:
        """All steps were taken."""
        self.given.order.commit_steps(self.clock + steps * self._accesses)


def _exactly(
    memory: _Memory,
    kept: SavedForBackward,
    start: Start,
    weights: Weights,
    scratch: Scratch,
    lo: int,
    hi: int,
) -> None:
    """All steps of batch rows lo .. hi - 1 with an exact index."""
    step, why = 0, 0
    while why != FINISHED:
        step, why = sequence.unroll(
            step, lo, hi, kept, start, weights, memory.views.arrays, scratch, memory.numbers
        )
        if why >= 0:
            memory.sort(step, why)
        elif why == OUTSIDE:
            raise slot_range_error(memory.views)
        elif why == NOT_FINITE:
            raise memory.views.refuse(kept.controls[step, lo:hi], scratch.write_slots[lo:hi], lo)


def _with_index(
    memory: _Memory,
    kept: dict[str, Tensor],
    arrays: SavedForBackward,
    start: Start,
    weights: Weights,
    scratch: Scratch,
) -> None:
    """All steps with an index that is asked at each of them."""
    given, numbers = memory.given, memory.numbers
    order, index = given.order, given.index
    steps, batch_size, heads, most, size = kept["words"].shape
    slots = given.slots.new_empty(batch_size, scratch.write_slots[0].size)
    words = kept["words"].new_empty(*slots.shape, size)
    written = as_arrays(slots, words)
    keys = kept["controls"][:, :, : heads * size].unflatten(2, (heads, size))
    head, high = memory.views.arrays.head, memory.high
    for step in range(steps):
        if head.max() + order.count > given.store.memory_size:
            high = given.store.memory_size
        row = 0
        while row >= 0:
            row = sequence.advance(
                step, arrays, start, weights, memory.views.arrays, scratch, numbers, *written
            )
            if row == OUTSIDE:
                raise slot_range_error(memory.views)
            if row >= 0:
                memory.sort(step, row)
        high = max(high, min(int(head.max()), given.store.memory_size))
        index.reserve(high)
        near = index.exchange(slots, words, keys[step], most)
        kept["slots"][step].copy_(near.slots)
        kept["cosine"][step].copy_(near.scores)
        right = sequence.finish(step, arrays, start, memory.views.arrays, scratch, numbers)
        check_found_slots(right, index)


def _together(
    like: Tensor, first: torch.Size, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Tensors [*first, *shape] cut from a single one.

    The C library hands out one block of some megabytes again and again, but gives several of them
    back to the system each time, and new pages cost more than what is computed on them.
    """
    sizes = [math.prod(first) * math.prod(shape) for shape in shapes.values()]
    parts = like.new_empty(sum(sizes)).split(sizes)
    pairs = zip(parts, shapes.items(), strict=True)
    return {name: part.view(*first, *shape) for part, (name, shape) in pairs}
