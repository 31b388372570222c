"""Exchanges of a sequence over a base in three compiled calls each.

They do what `sam.store.overlay_places.OverlayPlaces.exchange` does, while each row has own slots
left that were never handed out, and there is room. The index is a `LayeredIndex` everywhere here.
"""

from operator import is_
from typing import Any, Self

import numpy as np
import torch

from index import Neighbors
from index.audit import is_audited
from index.entries import Entries
from index.kernels.place_loops import bring, settle
from sam.errors import ShapeError
from sam.store.buffer import Buffer


class PlaceExchanges:
    """Exchanges of the same sizes, until there is no room for another one.

    Args:
        order: an `OverlayPlaces`.
        index, buffer: of the same memory.
        sizes: places written and keys of each row, and K.
    """

    def __init__(self, order: Any, index: Any, buffer: Buffer, sizes: tuple[int, int, int]) -> None:
        writes, keys, top_k = sizes
        self._order, self._index, self._buffer = order, index, buffer
        batch, self._more = order.batch_size, keys * top_k
        self._slots = np.empty((batch, writes), np.int64)
        self._new = torch.empty(3, batch * self._more, dtype=torch.int64)
        self._new_array = self._new.numpy()
        self._whole, search = index._whole, order.base.whole_search(top_k)
        self._words = search.words_for_loops
        self._seen, self._named = self._tensors(), order._named.tables()
        self._rows, *window, marks, own = (one.numpy() for one in self._seen)
        self._window, self._marks, self._own = tuple(window), marks, own
        keys_of, _, slot_of, _ = self._named
        named_room = min(keys_of.shape[1] // 2, slot_of.shape[1])
        space = min(self._marks.shape[1] - 1, len(self._rows) - 1)
        self._room = min(named_room, space) - self._more - 2 * order.count
        self._entries = Entries()
        index.reserve(order.memory_size)

    @classmethod
    def of(cls, order: Any, index: Any, buffer: Buffer, sizes: tuple[int, int, int]) -> Self | None:
        """None where exchanges are made by the parts one after another."""
        plain = not is_audited() and not order.base.in_step and not order._unloaded
        if not plain or not order._untouched or buffer.rows.dtype is not torch.float32:
            return None
        if not index._whole.begin(index, *sizes):
            return None
        made = cls(order, index, buffer, sizes)
        return made if made.begin(0) else None

    def begin(self, slots: int) -> bool:
        """Whether there is room for the next exchange."""
        order = self._order
        same = all(map(is_, self._seen, self._tensors()))
        same = same and order._named.tables() is self._named and not order._unloaded
        return same and order._untouched and order.slot_bound <= self._room

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        """What is changed in place: words, stamps, the snapshot's head and end, marks, own."""
        order = self._order
        parts = order._stamps, order._head, order._end, order._written, order._own
        return self._buffer.rows, *parts

    def exchange(
        self,
        written: np.ndarray,
        words: np.ndarray,
        keys: np.ndarray,
        found: np.ndarray,
        scores: np.ndarray,
    ) -> bool:
        """Tells the index what was written, and finds the words that keys are most like.

        Args:
            written: places, int64 [B, M]; words: [B, M, W]; keys: [B, H, W]; contiguous.
            found, scores: places and scores of the best go here, [B, H, K].

        Returns:
            Whether the next exchange may be made in this way, too.
        """
        order, index = self._order, self._index
        handed = self._own, self._window[1], self._named, self._marks, self._slots
        given: Any = written, order.num_base, *handed
        order._named.most = self._entries.call(settle, given)
        goes_on = self._whole.exchange_arrays(index, self._slots, words, keys, found, scores)
        if not goes_on:
            given = (torch.from_numpy(one) for one in (self._slots, words, keys))
            best = Neighbors(torch.from_numpy(found), torch.from_numpy(scores))
            for mine, its in zip(best, index.exchange(*given, found.shape[2]), strict=True):
                mine.copy_(its)
        places, new = found.reshape(len(written), -1), self._new_array
        given = places, self._named, order.num_base, self._window, self._words, self._rows, new
        most, missing, wrong = self._entries.call(bring, given)
        order._named.most = int(self._named[3].max()) if wrong else most
        order.slot_bound = max(order.slot_bound, order._named.most)
        if wrong:
            raise ShapeError(f"slots: expected such as were handed out, got {places.max()}")
        if missing:
            order._unloaded.append(self._new[:, :missing].clone())
            order.load(self._buffer)
        return goes_on

    def close(self) -> None:
        """Nothing: the index knows all."""
