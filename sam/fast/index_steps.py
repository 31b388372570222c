"""The steps of a sequence whose index is asked at each of them."""

from typing import Any

from torch import Tensor

from index import Neighbors
from sam.fast.array_views import as_arrays
from sam.fast.loops.kernel_arrays import FINISHED, OUTSIDE
from sam.fast.step_request import check_found_slots, slot_range_error


class IndexSteps:
    """All steps of one call, of all batch rows.

    An index of lists is asked within the compiled loop, as long as that may go on by itself; see
    `VectorIndex.inner_exchanges`. Any other is called at each step.

    Args:
        loops: of the call.
        saved: what the forward pass fills in, by name.
    """

    def __init__(self, loops: Any, saved: dict[str, Tensor]) -> None:
        self.loops, self.saved, request = loops, saved, loops.request
        self.order, self.store, self.index = request.order, request.store, request.word_index
        self.steps, batch_size, self.heads, self.top_k, self.size = saved["words"].shape
        shape = batch_size, loops.run.scratch.write_slots[0].size
        self.slots = request.slots.new_empty(shape)
        self.words = saved["words"].new_empty(*shape, self.size)
        self.queries = saved["words"].new_empty(batch_size, self.heads, self.size)
        self.written = as_arrays(self.slots, self.words)
        self.high = loops.high

    def run(self) -> None:
        step = 0
        while step < self.steps:
            inner = self._inner(step)
            if inner is None:
                self._step(step)
                step += 1
            else:
                step = self._steps(step, inner)

    def _inner(self, step: int) -> Any:
        """What the index needs for the steps from this one on, if it can be asked within loops."""
        if self.order.base is not None or step == self.steps - 1:
            return None
        self.high = max(self.high, self._handed_out(self.steps - step))
        self.index.reserve(self.high)
        return self.index.inner_exchanges(self.slots.shape[1], self.heads, self.top_k)

    def _handed_out(self, steps: int) -> int:
        """How many slots some memory has handed out at most after so many steps."""
        head = int(self.loops.views.arrays.head.max()) + steps * self.order.count
        return min(head, self.store.memory_size)

    def _steps(self, first: int, inner: Any) -> int:
        """Steps from `first` on within the loop; returns the next one that is to be taken."""
        loops, step = self.loops, first
        keys = as_arrays(self.queries)[0]
        while True:
            given = loops.run, *self.written, keys, inner.arrays
            step, why = loops.kernels.advance_with_lists(step, *given)
            if why == FINISHED:
                inner.close()
                return step
            if why >= 0:
                loops.sort(step, why)
            elif why == OUTSIDE:
                raise slot_range_error(loops.views)
            else:
                best = Neighbors(self.saved[loops.found][step], self.saved["cosine"][step])
                if not inner.go_on(why, self.slots, self.words, self.queries, best):
                    check_found_slots(loops.kernels.finish(step, loops.run), self.index)
                    return step + 1

    def _step(self, step: int) -> None:
        """A step whose index is called."""
        loops, saved = self.loops, self.saved
        if self._handed_out(1) == self.store.memory_size:
            self.high = self.store.memory_size
        while (row := loops.kernels.advance(step, loops.run, *self.written)) >= 0:
            loops.sort(step, row)
        if row == OUTSIDE:
            raise slot_range_error(loops.views)
        self.high = max(self.high, self._handed_out(0))
        keys = saved["controls"][step, :, : self.heads * self.size]
        keys = keys.unflatten(1, (self.heads, self.size))
        told = self.index, self.store.buffer, self.slots, self.words, keys, self.top_k
        near = self.order.exchange(*told, slot_bound=self.high)
        if loops.views.renew(self.store):
            loops.make_room()
        saved[loops.found][step].copy_(near.slots)
        saved["cosine"][step].copy_(near.scores)
        check_found_slots(loops.kernels.finish(step, loops.run), self.index)
