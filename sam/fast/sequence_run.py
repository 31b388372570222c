"""One call over a sequence of SAM's steps: its buffers, and the loops that fill them."""

import math
import threading
from typing import NamedTuple

import torch
from torch import Tensor

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
from sam.fast.step_request import StepRequest, check_found_slots, slot_range_error
from sam.fast.threads import in_threads
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.word_store import WordStore


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

    def __init__(self, request: StepRequest, shape: torch.Size) -> None:
        self.request, self.shape = request, shape
        self.saved: dict[str, Tensor] = {}
        self.read: SparseWeights | None = None

    def forward(
        self, inputs: Tensor, before: RecurrentState, parameters: Parameters
    ) -> RecurrentState:
        """Runs all steps; `saved` has what the backward pass needs."""
        steps, batch_size, width = self.shape
        request = self.request
        heads, top_k = request.slots.shape[1:]
        units, word_size = before.hidden.shape[1], request.store.word_size
        writes = request.order.count
        shapes = {
            "gates": (4 * units,),
            "cells": (units,),
            "controls": (len(parameters.bias),),
            "cosine": (heads, top_k),
            "values": (heads, top_k),
            "words": (heads, top_k, word_size),
        }
        self.saved = saved = _together(inputs, self.shape[:2], shapes)
        new, count = inputs.new_empty, request.slots.new_empty
        saved["hidden"] = new(steps, batch_size, units)
        saved["reads"] = new(steps, batch_size, heads * word_size)
        saved["slots"] = count(steps, batch_size, heads, top_k)
        saved["lru_slots"] = count(steps, batch_size, writes)
        torch.addmm(
            parameters.bias_ih + parameters.bias_hh,
            inputs.reshape(-1, width),
            parameters.weight_ih[:, :width].t(),
            out=saved["gates"].view(-1, 4 * units),
        )
        recurrent = torch.cat([parameters.weight_ih[:, width:], parameters.weight_hh], 1)
        weights = Weights(
            *as_arrays(recurrent.t().contiguous(), parameters.weight.t().contiguous()),
            *as_arrays(parameters.bias),
        )
        both = torch.cat([before.reads, before.hidden], 1)
        write = SparseWeights(*(part.clone(memory_format=_CONTIGUOUS) for part in request.write))
        lengths = request.lengths
        if lengths is None:
            lengths = request.slots.new_full((batch_size,), steps)
        start = Start(
            *as_arrays(before.cell.contiguous(), request.slots.contiguous()),
            *as_arrays(before.values.contiguous(), lengths),
        )
        arrays = SavedForBackward(**{name: part.numpy() for name, part in saved.items()})
        active = lengths > 0
        scratch = Scratch(*as_arrays(both, *write, active))
        memory = _Memory(request, steps, inputs.dtype)
        with request.store.buffer.changing():
            if memory.views.exact:
                in_threads(
                    lambda lo, hi: _exactly(memory, arrays, start, weights, scratch, lo, hi),
                    batch_size,
                )
            else:
                _with_index(memory, saved, arrays, start, weights, scratch)
        memory.commit_steps(steps)
        self.write = write
        values, slots = saved["values"], saved["slots"]
        self.read = SparseWeights(slots[-1].clone(), values[-1].clone())
        reads, hidden = both.split([heads * word_size, units], 1)
        return RecurrentState(
            hidden.clone(), saved["cells"][-1].clone(), reads.clone(), self.read.values
        )

    def result(
        self, hidden: Tensor, reads: Tensor, last: RecurrentState, store: WordStore
    ) -> SequenceResult:
        assert self.read is not None
        read = SparseWeights(self.read.slots, last.values)
        return SequenceResult(hidden, reads, last, read, self.write, store)


class _Memory:
    """The memory's arrays of one call, and the settings."""

    def __init__(self, request: StepRequest, steps: int, dtype: torch.dtype) -> None:
        self.request, self.clock = request, request.order.clock
        self.high = request.order.slot_bound
        self.views = ArrayViews(request.store, request.order, request.word_index, steps, dtype)
        self.params = KernelParams(
            request.store.memory_size, self.clock, request.threshold, request.min_strength, EPS
        )
        self._accesses = request.slots[0].numel() + request.write.slots[0].numel()
        self._lock = threading.Lock()

    def sort(self, step: int, row: int) -> None:
        """Sorts the order of a batch row that is used up at a step."""
        with self._lock:
            self.views.sort(self.clock + step * self._accesses, row)

    def commit_steps(self, steps: int) -> None:
        """All steps were taken."""
        self.request.order.commit_steps(self.clock + steps * self._accesses)


def _exactly(
    memory: _Memory,
    saved: SavedForBackward,
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
            step, lo, hi, saved, start, weights, memory.views.arrays, scratch, memory.params
        )
        if why >= 0:
            memory.sort(step, why)
        elif why == OUTSIDE:
            raise slot_range_error(memory.views)
        elif why == NOT_FINITE:
            raise memory.views.refuse(saved.controls[step, lo:hi], scratch.write_slots[lo:hi], lo)


def _with_index(
    memory: _Memory,
    saved: dict[str, Tensor],
    arrays: SavedForBackward,
    start: Start,
    weights: Weights,
    scratch: Scratch,
) -> None:
    """All steps with an index that is asked at each of them."""
    request, params = memory.request, memory.params
    order, index = request.order, request.word_index
    steps, batch_size, heads, top_k, size = saved["words"].shape
    slots = request.slots.new_empty(batch_size, scratch.write_slots[0].size)
    words = saved["words"].new_empty(*slots.shape, size)
    written = as_arrays(slots, words)
    keys = saved["controls"][:, :, : heads * size].unflatten(2, (heads, size))
    head, high = memory.views.arrays.head, memory.high
    for step in range(steps):
        if head.max() + order.count > request.store.memory_size:
            high = request.store.memory_size
        row = 0
        while row >= 0:
            row = sequence.advance(
                step, arrays, start, weights, memory.views.arrays, scratch, params, *written
            )
            if row == OUTSIDE:
                raise slot_range_error(memory.views)
            if row >= 0:
                memory.sort(step, row)
        high = max(high, min(int(head.max()), request.store.memory_size))
        index.reserve(high)
        near = index.exchange(slots, words, keys[step], top_k)
        saved["slots"][step].copy_(near.slots)
        saved["cosine"][step].copy_(near.scores)
        right = sequence.finish(step, arrays, start, memory.views.arrays, scratch, params)
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
