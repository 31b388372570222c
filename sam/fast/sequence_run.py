"""One call over a sequence of SAM's steps: its buffers, and the loops that fill them."""

import threading
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, from_numpy

from index.threads import in_threads
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
from sam.fast.row_blocks import rows_at_a_time
from sam.fast.sequence_plan import SequencePlan
from sam.fast.step_request import StepRequest, slot_range_error
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.overlay_places import OverlayPlaces
from sam.store.word_store import WordStore


class SequenceResult(NamedTuple):
    """What came out."""

    hidden: Tensor  # h, [T, B, L C]; 0 where a row has ended
    reads: Tensor  # r, [T, B, H W]; the last one where a row has ended
    last: Carried
    read: SparseWeights  # w^R of the last step
    write: SparseWeights  # w^W of the last step
    store: WordStore


_CARRIED = "hidden", "cells"
_STEPS_AHEAD = 64  # that rows over a base have room for at once; then it doubles


class Run:
    """One call: its buffers, and the loop that fills them.

    What it makes lies in a few blocks. That of the state shares no memory with what the backward
    pass is given, so it may be changed in place.

    Attributes:
        saved: what the forward pass fills in, as the loops take it.
        hidden, reads: h and r, [1 + T, B, ...]; the first ones are those before the first step.
        slots_saved: which of `SequencePlan.slots` the backward pass needs the rows of.
        numbers_saved: which others it needs; see `numbers_with`.
    """

    slots_saved: ClassVar[tuple[str, ...]] = ("slots", "lru_slots")
    numbers_saved: ClassVar[tuple[str, ...]] = (
        *("gates", "cells", "hidden", "controls", "cosine", "values", "words", "reads"),
    )
    saved_type: ClassVar[Any] = SavedForBackward

    def __init__(self, request: StepRequest, plan: SequencePlan) -> None:
        self.request, self.plan = request, plan

    @classmethod
    def numbers_with(cls, layers: Layers) -> tuple[str, ...]:
        """Those of `numbers_saved` that there are with such layers."""
        return tuple(n for n in cls.numbers_saved if n != "cells" or layers.has_cells)

    def numbers(self) -> list[Tensor]:
        """The tensors of `numbers_with`."""
        views = dict(zip(self.plan.numbers.names, self.plan.numbers.views(self._flat), strict=True))
        views |= {"hidden": self.hidden, "reads": self.reads}
        return [views[name] for name in self.numbers_with(self.plan.layers)]

    def rows(self) -> tuple[Tensor, ...]:
        """Flat rows of the store for `slots_saved` and the slots read before the first step, which
        is what the backward pass goes by. Nobody may need the slots any more."""
        plan, flat = self.plan, self._slots.numpy()
        flat *= plan.sizes.batch
        for part in plan.rows.cut(flat):
            part += plan.first_row
        return self._slots.split_with_sizes(plan.slots.sizes)

    def loops(self, start: Start, weights: Weights, scratch: Scratch) -> "Loops":
        """The loops over what is to be filled in."""
        return Loops(self, start, weights, scratch)

    def forward(self, inputs: Tensor, before: Carried, parameters: tuple[Tensor, ...]) -> Carried:
        """Runs all steps."""
        plan, request = self.plan, self.request
        laid_out = plan.layers.lay_out(parameters, plan.sizes.width, plan.read)
        self._make(inputs)
        gates = from_numpy(self.saved.gates.reshape(-1, plan.numbers.shapes[0][2]))
        given = inputs.reshape(-1, plan.sizes.width)
        torch.addmm(laid_out.bias, given, laid_out.inputs.t(), out=gates)
        start, scratch = self._begin(before)
        loops = self.loops(start, laid_out.weights, scratch)
        with request.store.buffer.changing():
            if loops.views.exact:
                most = rows_at_a_time(laid_out.weights)
                in_threads(loops.with_exact_index, plan.sizes.batch, most)
            else:
                IndexSteps(loops).run()
        loops.commit_steps()
        return self._end(scratch.both)

    def _make(self, inputs: Tensor) -> None:
        """Everything that is to be filled in."""
        plan, new, count = self.plan, inputs.new_empty, self.request.slots.new_empty
        steps, batch_size = plan.sizes[:2]
        # Of torch's memory, which its profiler counts.
        self._flat, self._slots = new_numbers(plan.numbers.size, inputs), count(plan.slots.size)
        self.hidden = new(1 + steps, batch_size, plan.layers.width)
        self.reads = new(1 + steps, batch_size, plan.read)
        named = plan.numbers.named(self._flat.numpy()) | plan.slots.named(self._slots.numpy())
        self._first_slots = named.pop("start")
        named |= {"hidden": self.hidden.numpy()[1:], "reads": self.reads.numpy()[1:]}
        named.setdefault("cells", named["hidden"])
        self.saved = self.saved_type(**named)
        self._state = plan.state.named(new(plan.state.size).numpy())
        self._state |= plan.state_slots.named(count(plan.state_slots.size).numpy())

    def _begin(self, before: Carried) -> tuple[Start, Scratch]:
        """What the first step goes on from, and room for one step."""
        plan, request, state = self.plan, self.request, self._state
        hidden, reads, slots = self.hidden.numpy(), self.reads.numpy(), self._first_slots
        written = state["write_slots"], state["write_values"]
        reads[0], slots[...] = before.reads.detach().numpy(), request.slots.numpy()
        written[0][...], written[1][...] = as_arrays(*request.write)
        both = np.empty(plan.both, hidden.dtype)
        both[:, : plan.read] = reads[0]
        first = self.hidden[0]
        if plan.layers.carried:
            hidden[0] = before.controller[0].detach().numpy()
            both[:, plan.read :] = hidden[0]
            first = before.controller[-1].contiguous()
        begins = plan.no_begins if request.starts is None else request.starts.numpy()
        lengths = plan.lengths if request.lengths is None else request.lengths.numpy()
        first, values = as_arrays(first, before.values.contiguous())
        room: Any = *plan.no_prev, plan.not_held
        if len(begins):
            held = np.full(plan.sizes.batch, request.store.memory_size)
            room = np.empty_like(slots), np.empty_like(values), held
        active = np.ones(plan.sizes.batch, np.bool_)
        start = Start(first, slots, values, lengths, begins, plan.nothing)
        return start, Scratch(both, *written, active, *room)

    def _end(self, both: Any) -> Carried:
        """The state after the last step, in memory of its own."""
        plan, state = self.plan, self._state
        state["hidden"][...], state["reads"][...] = both[:, plan.read :], both[:, : plan.read]
        state["values"][...], state["slots"][...] = self.saved.values[-1], self.saved.slots[-1]
        if plan.layers.has_cells:
            state["cells"][...] = self.saved.cells[-1]
        after = {name: from_numpy(part) for name, part in state.items()}
        self.read = SparseWeights(after["slots"], after["values"])
        self.write = SparseWeights(after["write_slots"], after["write_values"])
        controller = tuple(after[name] for name in _CARRIED[: plan.layers.carried])
        return Carried(controller, after["reads"], after["values"])

    def outputs(self) -> tuple[Tensor, Tensor]:
        """h and r of all steps, [T, B, ...]."""
        return self.hidden[1:], self.reads[1:]

    def result(
        self, hidden: Tensor, reads: Tensor, last: Carried, store: WordStore
    ) -> SequenceResult:
        read = SparseWeights(self.read.slots, last.values)
        return SequenceResult(hidden, reads, last, read, self.write, store)


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

    def __init__(self, run: Run, start: Start, weights: Weights, scratch: Scratch) -> None:
        request, plan = run.request, run.plan
        order, store = request.order, request.store
        self.request, self.plan = request, plan
        self.clock, self.steps = order.clock, plan.sizes.steps
        self.high = order.slot_bound  # before there is room for all steps
        dtype, stretch = store.buffer.rows.dtype, self.steps
        self.begins: list[bool] = []
        if len(start.begins):
            self.begins, stretch = start.begins.any(1).tolist(), longest_stretch(start.begins)
        if isinstance(order, OverlayPlaces):
            # Otherwise the first steps would make room again and again.
            new = plan.sizes.heads * plan.sizes.top_k + 2 * order.count
            order.reserve((1 + min(self.steps, _STEPS_AHEAD)) * new)
        self.views = ArrayViews(store, order, request.word_index, stretch, dtype)
        self.params = KernelParams(
            store.memory_size, self.clock, request.threshold, request.min_strength, EPS
        )
        self._parts = run.saved, start, weights, scratch
        self._accesses = plan.accesses
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
