"""Steps of a sequence in which an index that has lists compares every word anyway.

While its words are few, or lists do not pay, the loops search its words themselves, as those of an
exact index. The index says for how many steps that will do, and counts them afterwards.
"""

from functools import partial
from typing import Any

from index.threads import in_threads
from sam.fast.array_views import steps_looped
from sam.fast.row_blocks import rows_at_a_time


class ExactSteps:
    """The steps of one call that may be like that.

    Args:
        loops: of the call.
    """

    def __init__(self, loops: Any) -> None:
        self.loops, self.order = loops, loops.request.order
        self.index, self.size = loops.request.word_index, loops.request.store.memory_size
        self.batch_size, *writes = loops.request.write.slots.shape
        self.writes = writes[0] * writes[1]
        self.rows = rows_at_a_time(loops.run.weights)

    def take(self, step: int, high: int) -> tuple[int, int]:
        """Takes the next steps, as many as are like that for certain.

        Args:
            step: the first of them.
            high: a bound on all slots that may hold a word.

        Returns:
            The step after them, and the bound by then.
        """
        exchanges = None if self.order.base is not None else self.index.exact_exchanges(self.writes)
        if exchanges is None:
            return step, high
        more = self.order.count
        count = min(self._known(step, high), steps_looped(high, more, self.size))
        count = min(count, exchanges.most(high, more)) if count else 0
        if not count:
            return step, high
        end, loops = step + count, self.loops
        loops.views.show_words(exchanges.buffers(min(high + count * more, self.size)))
        in_threads(partial(loops.with_exact_index, first=step, end=end), self.batch_size, self.rows)
        loops.views.show_words(None)
        was_reset = any(loops.begins[step:end])
        handed_out = loops.handed_out(0)
        high = handed_out if was_reset and not self._sorted else max(high, handed_out)
        exchanges.done(count, high, was_reset=was_reset)
        return end, high

    @property
    def _sorted(self) -> bool:
        """Whether some row has come to use all slots; then all count as in use."""
        return self.loops.views.arrays.queue.shape[1] > 0

    def _known(self, step: int, high: int) -> int:
        """Of how many steps it is known what bound the index would be told at each of them.

        That is all slots before a step after which they may all be in use.
        """
        left = self.loops.steps - step
        if high < self.size:
            return min(left, (self.size - 1 - self.loops.handed_out(0)) // self.order.count)
        if self._sorted or not any(self.loops.begins[step:]):
            return left
        return self.loops.begins[step:].index(True)
