"""One call over a sequence of SAM's steps: its buffers, and the loops that fill them."""

import math
import threading
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.fast.array_views import ArrayViews, as_arrays
from sam.fast.controller_layers import Carried, Layers
from sam.fast.index_steps import IndexSteps
from sam.fast.large_blocks import new_numbers
from sam.fast.loops import sequence_forward
from sam.fast.loops.kernel_arrays import (
    FINISHED,
    NOT_FINITE,
    OUTSIDE,
    KernelParams,
    SavedForBackward,
    Scratch,
    Sequence,
    Start,
    Weights,
)
from sam.fast.step_request import StepRequest, slot_range_error
from sam.fast.threads import in_threads, rows_at_a_time
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.word_store import WordStore


class SequenceResult(NamedTuple):
    """What came out."""

    hidden: Tensor  # h, [T, B, L C]; 0 where a row has ended
    reads: Tensor  # r, [T, B, H W]; the last one where a row has ended
    last: Carried
    read: SparseWeights  # w^R of the last step
    write: SparseWeights  # w^W of the last step
    store: WordStore


_CONTIGUOUS = torch.contiguous_format


class Run:
    """One call: its buffers, and the loop that fills them.

    Attributes:
        saved: what the forward pass fills in, [T, B, ...] each.
        slots_saved: which of it are slots, of which the backward pass needs the rows.
        numbers_saved: which others the backward pass needs; see `numbers_with`.
    """

    slots_saved: ClassVar[tuple[str, ...]] = ("slots", "lru_slots")
    numbers_saved: ClassVar[tuple[str, ...]] = (
        *("gates", "cells", "hidden", "controls", "cosine", "values", "words", "reads"),
    )

    def __init__(self, request: StepRequest, layers: Layers, shape: torch.Size) -> None:
        self.request, self.layers, self.shape = request, layers, shape
        self.saved: dict[str, Tensor] = {}
        self.read: SparseWeights | None = None

    @classmethod
    def numbers_with(cls, layers: Layers) -> tuple[str, ...]:
        """Those of `numbers_saved` that there are with such layers."""
        return tuple(n for n in cls.numbers_saved if n != "cells" or layers.has_cells)

    def read_shapes(self) -> dict[str, tuple[int, ...]]:
        """What a step's reads fill in, beside r."""
        heads, top_k = self.request.slots.shape[1:]
        size = self.request.store.word_size
        return {"cosine": (heads, top_k), "values": (heads, top_k), "words": (heads, top_k, size)}

    def slot_shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of `slots_saved`."""
        return {"slots": self.request.slots.shape[1:], "lru_slots": (self.request.order.count,)}

    def loops(self, start: Start, weights: Weights, scratch: Scratch) -> "Loops":
        """The loops over what is to be filled in."""
        return Loops(self.request, SavedForBackward(**self.arrays()), start, weights, scratch)

    def arrays(self) -> dict[str, Any]:
        """What is to be filled in, by name."""
        arrays = {name: part.numpy() for name, part in self.saved.items()}
        return {"cells": arrays["hidden"]} | arrays

    def forward(self, inputs: Tensor, before: Carried, parameters: tuple[Tensor, ...]) -> Carried:
        """Runs all steps; `saved` has what the backward pass needs."""
        steps, batch_size, width = self.shape
        request, layers = self.request, self.layers
        matrices = layers.matrices(parameters[:-2], width, before.reads.shape[1])
        weights = layers.weights(matrices, *parameters[-2:])
        cells = {"cells": (layers.width,)} if layers.has_cells else {}
        shapes = {
            "gates": (layers.num_layers * layers.gates,),
            **cells,
            "controls": (len(weights.bias),),
            **self.read_shapes(),
        }
        self.saved = saved = _together(inputs, self.shape[:2], shapes)
        new, count = inputs.new_empty, request.slots.new_empty
        saved["hidden"] = new(steps, batch_size, layers.width)
        saved["reads"] = new(steps, *before.reads.shape)
        for name, shape in self.slot_shapes().items():
            saved[name] = count(steps, batch_size, *shape)
        torch.addmm(
            matrices.bias,
            inputs.reshape(-1, width),
            matrices.inputs.t(),
            out=saved["gates"].view(-1, len(matrices.bias)),
        )
        both = before.both
        write = SparseWeights(*(part.clone(memory_format=_CONTIGUOUS) for part in request.write))
        lengths = request.lengths
        if lengths is None:
            lengths = request.slots.new_full((batch_size,), steps)
        first = before.controller[-1].contiguous() if layers.carried else saved["hidden"][0]
        begins = begins_of(request.starts, batch_size)
        start = Start(
            *as_arrays(first, request.slots.contiguous()),
            *as_arrays(before.values.contiguous(), lengths, begins, new(layers.width).zero_()),
        )
        rows = batch_size if len(begins) else 0
        last = request.slots.new_empty(rows, *request.slots.shape[1:])
        held = lengths.new_full((batch_size,), request.store.memory_size)
        scratch = Scratch(
            *as_arrays(both, *write, lengths > 0),
            *as_arrays(last, before.values.new_empty(last.shape), held),
        )
        loops = self.loops(start, weights, scratch)
        with request.store.buffer.changing():
            if loops.views.exact:
                in_threads(loops.with_exact_index, batch_size, rows_at_a_time(weights))
            else:
                IndexSteps(loops, saved).run()
        loops.commit_steps()
        self.write = write
        values, slots = saved["values"], saved["slots"]
        self.read = SparseWeights(slots[-1].clone(), values[-1].clone())
        reads, hidden = both.tensor_split((before.reads.shape[1],), 1)
        carried = (hidden.clone(), *(saved[name][-1].clone() for name in cells))
        return Carried(carried[: layers.carried], reads.clone(), self.read.values)

    def result(
        self, hidden: Tensor, reads: Tensor, last: Carried, store: WordStore
    ) -> SequenceResult:
        assert self.read is not None
        read = SparseWeights(self.read.slots, last.values)
        return SequenceResult(hidden, reads, last, read, self.write, store)


def begins_of(starts: Tensor | None, batch_size: int) -> Tensor:
    """`Start.begins` for the `starts` of a request."""
    return torch.empty(0, batch_size, dtype=torch.bool, device="cpu") if starts is None else starts


def longest_stretch(begins: np.ndarray) -> int:
    """The most steps that a row takes without beginning anew, of bool [T, B]."""
    steps = np.arange(len(begins))[:, None]
    return 1 + int((steps - np.maximum.accumulate(np.where(begins, steps, 0))).max())


class Loops:
    """The loops over the steps of one call, on the arrays of the memory and of the call.

    Attributes:
        kernels: the compiled functions `unroll`, `advance` and `finish`.
        found: which part of what is saved takes the slots that an index finds.
    """

    kernels: ClassVar[Any] = sequence_forward
    found: ClassVar[str] = "slots"

    def __init__(
        self,
        request: StepRequest,
        saved: Any,
        start: Start,
        weights: Weights,
        scratch: Scratch,
    ) -> None:
        order, store = request.order, request.store
        self.request, self.clock, self.steps = request, order.clock, len(saved.hidden)
        self.high = order.slot_bound  # before there is room for all steps
        dtype = store.buffer.rows.dtype
        self.begins: list[bool] = start.begins.any(1).tolist()
        stretch = longest_stretch(start.begins) if self.begins else self.steps
        self.views = ArrayViews(store, order, request.word_index, stretch, dtype)
        self.params = KernelParams(
            store.memory_size, self.clock, request.threshold, request.min_strength, EPS
        )
        self._parts = saved, start, weights, scratch
        self._accesses = request.slots[0].numel() + request.write.slots[0].numel()
        self._lock = threading.Lock()

    @property
    def run(self) -> Any:
        """The arrays; other ones after a sort."""
        return Sequence(*self._parts, self.views.arrays, self.params)

    def handed_out(self, steps: int) -> int:
        """How many slots some memory has handed out at most after so many further steps."""
        head = int(self.views.arrays.head.max()) + steps * self.request.order.count
        return min(head, self.request.store.memory_size)

    def make_room(self) -> None:
        """Once the buffers of the memory have become others."""

    def sort(self, step: int, row: int) -> None:
        """Sorts the order of a batch row that is used up at a step."""
        with self._lock:
            clock = self.clock + step * self._accesses
            if self.views.sort(self.request.store, clock, row):
                self.make_room()

    def claim(self, step: int) -> None:
        """Has the words come that a step writes over; see `ArrayViews.claim`."""
        active = step < self._parts[1].lengths
        if self.views.claim(self.request.store, self.clock + step * self._accesses, active):
            self.make_room()

    def commit_steps(self) -> None:
        """All steps were taken."""
        clock = self.clock + self.steps * self._accesses
        self.request.order.commit_steps(clock, was_reset=any(self.begins))

    def begin_rows(self, step: int, high: int) -> int:
        """Tells an index which rows begin anew with a step.

        Given and returned: a bound on all slots that may hold a word.
        """
        if not (self.begins and self.begins[step]):
            return high
        begins, memory = self._parts[1].begins[step], self.views.arrays
        self.request.word_index.reset(torch.from_numpy(begins))
        if memory.queue.shape[1] > 0:  # once a row was sorted, all slots count as used
            return high
        head = memory.head
        return min(int(head[~begins].max(initial=0)), self.request.store.memory_size)

    def with_exact_index(self, lo: int, hi: int, first: int = 0, end: int | None = None) -> None:
        """Steps first .. end - 1 of batch rows lo .. hi - 1 with an exact index; all by default."""
        step, why = first, 0
        while why != FINISHED:
            run = self.run
            if end is not None:
                run = run._replace(saved=run.saved._replace(hidden=run.saved.hidden[:end]))
            step, why = self.kernels.unroll(step, lo, hi, run)
            if why >= 0:
                self.sort(step, why)
            elif why == OUTSIDE:
                raise slot_range_error(self.views)
            elif why == NOT_FINITE:
                written = run.scratch.write_slots[lo:hi]
                raise self.views.refuse(run.saved.controls[step, lo:hi], written, lo)


def _together(
    like: Tensor, first: torch.Size, shapes: dict[str, tuple[int, ...]]
) -> dict[str, Tensor]:
    """Tensors [*first, *shape] cut from a single one.

    The C library hands out one block of some megabytes again and again, but gives several of them
    back to the system each time; see also `sam.fast.large_blocks`.
    """
    sizes = [math.prod(first) * math.prod(shape) for shape in shapes.values()]
    parts = new_numbers(sum(sizes), like).split(sizes)
    pairs = zip(parts, shapes.items(), strict=True)
    return {name: part.view(*first, *shape) for part, (name, shape) in pairs}
