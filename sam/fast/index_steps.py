"""The steps of a sequence whose index is asked at each of them, but for exact ones."""

from typing import Any

import numpy as np
import torch
from torch import from_numpy

from index import Neighbors
from index.compiled import is_compiled, use_compiled
from sam.fast.array_views import as_arrays
from sam.fast.exact_steps import ExactSteps
from sam.fast.loops.kernel_arrays import OUTSIDE
from sam.fast.place_exchanges import PlaceExchanges
from sam.fast.step_request import check_found_slots, slot_range_error


class IndexSteps:
    """All steps of one call, of all batch rows.

    Args:
        loops: of the call.
    """

    def __init__(self, loops: Any) -> None:
        self.loops, request, sizes = loops, loops.request, loops.plan.sizes
        self.order, self.store, self.index = request.order, request.store, request.word_index
        self.steps, self.heads, self.top_k = sizes.steps, sizes.heads, sizes.top_k
        saved, shape = loops.run.saved, (sizes.batch, sizes.writes * sizes.write_slots)
        self.slots = request.slots.new_empty(shape)
        self.words = self.store.buffer.rows.new_empty(*shape, sizes.word)
        self.written = as_arrays(self.slots, self.words)
        controls = from_numpy(saved.controls)[:, :, : sizes.heads * sizes.word]
        self.keys = controls.unflatten(2, (sizes.heads, sizes.word))
        self.key_arrays = self.keys.numpy()
        self.found = getattr(saved, loops.found), saved.cosine
        self.exact, self.high = ExactSteps(loops), loops.high

    def run(self) -> None:
        # Whether the index takes compiled loops is asked once, not at each step.
        with use_compiled(is_compiled(None, self.slots.device, torch.float32)):
            self._run()

    def _run(self) -> None:
        many: Any = None
        step = 0
        while step < self.steps:
            if many is None:
                step, self.high = self.exact.take(step, self.high)
                if step == self.steps:
                    break
            if self.loops.begins and self.loops.begins[step]:
                if many is not None:
                    many.close()
                self.high, many = self.loops.begin_rows(step, self.high), None
            if self.loops.handed_out(1) == self.store.memory_size:
                self.high = self.store.memory_size
            self._advance(step)
            self.high = max(self.high, self.loops.handed_out(0))
            found, scores = (part[step] for part in self.found)
            many = many or self._many(step)
            if many is None or not many.begin(self.high):
                many = None
                self._exchange(step, Neighbors(from_numpy(found), from_numpy(scores)))
            else:
                keys = np.ascontiguousarray(self.key_arrays[step])
                many = many if many.exchange(*self.written, keys, found, scores) else None
            finish = self.loops.kernels.finish, (step, self.loops.run)
            check_found_slots(self.loops.views.entries.call(*finish), self.index)
            step += 1
        if many is not None:
            many.close()

    def _advance(self, step: int) -> None:
        """A step up to the search."""
        loops = self.loops
        loops.claim(step)
        row = self._advanced(step)
        while row >= 0:
            loops.sort(step, row)
            row = self._advanced(step)
        if row == OUTSIDE:
            raise slot_range_error(loops.views)

    def _advanced(self, step: int) -> int:
        """What `advance` returns."""
        loops = self.loops
        given = step, loops.run, *self.written
        return loops.views.entries.call(loops.kernels.advance, given)

    def _many(self, step: int) -> Any:
        """What makes the exchanges of several steps in less time, if the index has it."""
        if step == self.steps - 1:
            return None
        sizes = self.slots.shape[1], self.heads, self.top_k
        if self.order.base is not None:
            return PlaceExchanges.of(self.order, self.index, self.store.buffer, sizes)
        self.index.reserve(self.high)
        return self.index.exchanges(*sizes)

    def _exchange(self, step: int, best: Neighbors) -> None:
        """Tells the index what was written, and asks it for the words to read."""
        told = self.index, self.store.buffer, self.slots, self.words, self.keys[step], self.top_k
        near = self.order.exchange(*told, slot_bound=self.high)
        if self.loops.views.renew(self.store):
            self.loops.make_room()
        best.slots.copy_(near.slots)
        best.scores.copy_(near.scores)
