"""The arrays of a sparse memory, as compiled loops change them in place."""

from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index import NonFiniteError
from index.audit import is_audited
from index.checks import check_finite_together
from index.entries import Entries
from index.exact import ExactIndex
from index.exact_exchanges import ANY
from index.llvm.best import BLOCK
from index.llvm.key_sums import KEYS
from sam.fast.loops.kernel_arrays import Memory
from sam.fast.loops.memory_loops import claim_rows
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore

# With more words in use the loops do not search themselves: the exact index is asked at each step,
# which searches large memories by products of large matrices.
_MOST_LOOPED = 2**14
# Single steps make room for so many slots at once, if these are no more than so many numbers.
_LEAST_SLOTS, _LEAST_NUMBERS = 128, 2**17


class ArrayViews:
    """Arrays that share the memory of a store, an order and an exact index.

    Args:
        store, order, index: of one memory.
        steps: to make room for.
        dtype: of the words.

    Attributes:
        exact: whether the loops search the index themselves.
        entries: of loops that are given the arrays as they are.
    """

    def __init__(
        self, store: WordStore, order: AccessOrder, index: Any, steps: int, dtype: torch.dtype
    ) -> None:
        self.order, self.index, self.dtype = order, index, dtype
        self._asks_index = not _is_looped(order, index)
        self.exact = not self._asks_index and not is_audited()
        self._exchanges: Any = None  # of an index with lists, where a step compares every word
        self._show(store, steps)
        # Room for the slots that a step writes over.
        self.lru_slots = np.empty((store.batch_size, order.count), np.int64)

    def _show(self, store: WordStore, steps: int) -> None:
        order, self.entries = self.order, Entries()
        order.export_buffers(steps, self.dtype)
        slot_bound = order.buffers[0].shape[1] - 1
        if slot_bound > store.capacity:
            store.buffer.grow(slot_bound, store.memory_size)
        self._rows = store.buffer.rows
        if self.exact:
            self._index_views = self.index.export_buffers(slot_bound)
        else:
            self._index_views = self._rows[:0], self._rows[:0, :, 0]
        self._buffers = order.buffers
        scores = self._rows.new_empty(store.batch_size, KEYS * BLOCK)
        self.arrays = Memory(*as_arrays(self._rows, *self._index_views, *self._buffers, scores))
        self.room = slot_bound

    def begin_step(self, writes: int) -> None:
        """Looks whether the loops of the next step may search an index with lists: see `exact`.

        Args:
            writes: words that the step writes, of each row.
        """
        if not self._asks_index or self.order.base is not None:
            return
        order, size = self.order, self.order.memory_size
        exchanges, bound, more = self.index.exact_exchanges(writes), order.slot_bound, order.count
        looped = steps_looped(bound, more, size) > 0
        if exchanges is not None and looped and exchanges.most(bound, more) > 0:
            self.show_words(exchanges.buffers(min(bound + more, size)))
            self.exact, self._exchanges = True, exchanges
        elif self.exact:
            self.show_words(None)
            self.exact, self._exchanges = False, None

    def end_step(self) -> None:
        """Tells such an index of the step, once the order is told."""
        if self._exchanges is not None:
            self._exchanges.done(1, self.order.slot_bound, was_reset=False)

    def show_words(self, buffers: tuple[Tensor, Tensor] | None) -> None:
        """Lets the loops search an index by its words and penalties; None to ask it again."""
        units, penalty = as_arrays(*(buffers or (self._rows[:0], self._rows[:0, :, 0])))
        before = self.arrays.units, self.arrays.penalty
        self.arrays = self.arrays._replace(units=units, penalty=penalty)
        if any(a.flags.num != b.flags.num for a, b in zip(before, (units, penalty), strict=True)):
            self.entries = Entries()

    def renew(self, store: WordStore) -> bool:
        """Shows the buffers as they are, in a step that has had more words come from a base.

        Returns whether some of them were others.
        """
        same = store.buffer.rows is self._rows and all(map(is_, self.order.buffers, self._buffers))
        if not same:
            self._show(store, 1)
        return not same

    def fits(self, store: WordStore, order: AccessOrder, index: Any, high: int) -> bool:
        """Whether these are still the arrays of a memory, with room for slots up to `high`."""
        if self.index is not index or self.order is not order or high > self.room:
            return False
        if store.buffer.rows is not self._rows or not all(map(is_, order.buffers, self._buffers)):
            return False
        if self._asks_index or not self.exact:
            return self._asks_index or is_audited()
        # A reset may have lowered what the index counts as in use.
        return index.has_buffers(self._index_views, self.room) and not is_audited()

    def sort(self, store: WordStore, clock: int, row: int) -> bool:
        """Sorts the order of a batch row whose snapshot is used up at a time.

        Returns whether some buffers have become others.
        """
        self.order.commit_steps(clock, row=row)
        order: Any = self.order
        if order.base is not None:
            if not order.base.in_step:  # else `claim` does, once for all rows
                order.load_for_writes(store.buffer)
            return self.renew(store)
        self._buffers, self.entries = self.order.buffers, Entries()
        self.arrays = self.arrays._replace(queue=self._buffers[2].numpy())
        return False

    def claim(self, store: WordStore, clock: int, active: Any) -> bool:
        """Has the words come that a step writes over, from a base that processes hold together.

        Each of them asks for its own in one call a step, with or without any. So the slots of all
        rows are taken before, and sorts come first. Nothing for other bases, and without one.

        Args:
            store: the words.
            clock: accesses so far.
            active: rows that take the step, bool [B]; [0] is all.

        Returns:
            Whether some buffers have become others.
        """
        order: Any = self.order
        if order.base is None or not order.base.in_step:
            return False
        changed = False
        while (row := claim_rows(self.lru_slots, active, self.arrays, store.memory_size)) >= 0:
            changed |= self.sort(store, clock, row)
        order.load_for_writes(store.buffer)
        return self.renew(store) or changed

    def refuse(self, controls: np.ndarray, slots: np.ndarray, first: int) -> NonFiniteError:
        """The error for a word or key that is not finite.

        Args:
            controls: of some batch rows, [n, P]; the keys come first.
            slots: that these rows wrote to, [n, V, J].
            first: of those rows.
        """
        rows, size = self.arrays.store, self.arrays.store.shape[2]
        which = np.arange(first, first + len(slots))[:, None, None]
        # Of rows that were not reached the slots may be anything.
        words = torch.from_numpy(rows[1 + slots.clip(-1, len(rows) - 2), which])
        keys = torch.from_numpy(controls[:, : controls.shape[1] // size * size])
        try:
            check_finite_together(words, keys)
        except NonFiniteError as error:
            return error
        return NonFiniteError("words, keys: expected lengths below infinity, got a longer one")


def searches_in_loops(order: AccessOrder, index: Any) -> bool:
    """Whether compiled loops search an index themselves."""
    return _is_looped(order, index) and not is_audited()


def steps_looped(bound: int, more: int, size: int) -> int:
    """How many steps have loops that search for certain, before so many words are in use.

    Args:
        bound: every slot in use is smaller; it grows by `more` with each step, up to `size`.
    """
    return ANY if size <= _MOST_LOOPED else max(0, _MOST_LOOPED - bound) // more


def _is_looped(order: AccessOrder, index: Any) -> bool:
    shares = type(index) is ExactIndex and index.shares_words
    return shares and order.slot_bound <= _MOST_LOOPED


def views_for_step(
    store: WordStore, order: AccessOrder, index: Any, dtype: torch.dtype
) -> ArrayViews:
    """The arrays for one step, kept from step to step while they stay the same."""
    views = store.buffer.array_views
    high = min(order.slot_bound + order.count, store.memory_size)
    if views is None or not views.fits(store, order, index, high):
        views = ArrayViews(store, order, index, _steps_ahead(store, order), dtype)
        store.buffer.array_views = views
    return views


def _steps_ahead(store: WordStore, order: AccessOrder) -> int:
    """For how many steps a small memory gets room at once: each time takes as long as a step."""
    if order.base is not None:
        return 1
    of_all = max(1, store.batch_size * store.word_size)
    slots = min(_LEAST_NUMBERS // of_all, _LEAST_SLOTS, store.memory_size)
    return max(1, (slots - order.slot_bound) // order.count)


def as_arrays(*tensors: Tensor) -> list[Any]:
    """Arrays that share the memory of tensors on the CPU."""
    return [(each.detach() if each.requires_grad else each).numpy() for each in tensors]


def writable_grad(grad: Tensor | None, like: Tensor) -> Tensor:
    """A gradient that can be written to, contiguous; zeros where there is none."""
    if grad is None:
        return torch.zeros_like(like, memory_format=torch.contiguous_format)
    return grad.clone(memory_format=torch.contiguous_format)
