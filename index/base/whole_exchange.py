"""An exchange of a layered index in one compiled call, where its parts have such a form.

The base has codes of its words, and the overlay compares every word; see
`index.kernels.base_exchange`. The index is a `LayeredIndex` everywhere here.
"""

from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.checks import PAIRS_UP_TO
from index.entries import Entries
from index.exact import ExactIndex
from index.exact_costs import compiled_pays
from index.neighbors import Neighbors
from index.table_parts import Parts


class WholeExchange(Parts):
    """What a layered index keeps from one call to the next."""

    def __init__(self) -> None:
        # What a call is given, and the arrays and tensors of which it was made.
        self._over_now, self._made_of = None, (None,) * 4
        self._search: Any = None
        self._entries = Entries()  # for these arguments
        # Rows that each memory hides, in a table as the map has for slots, [B, S]; and how many
        # places of the map were looked at, [B].
        self._hidden = self._looked_at = torch.empty(0, 0)
        self._sizes: Any = None
        self._scratch: Any = None

    def copied(self, device: torch.device) -> "WholeExchange":
        """One that keeps nothing yet: all of it follows from the index."""
        return WholeExchange()

    def __reduce__(self) -> Any:
        return WholeExchange, ()

    def exchange(
        self, index: Any, slots: Tensor, words: Tensor, queries: Tensor, k: int
    ) -> Neighbors | None:
        """`LayeredIndex._exchange`; None where other forms have to go on.

        Shapes and dtypes were checked against those of the overlay: compiled loops do not look.
        """
        if not self.begin(index, slots.shape[1], queries.shape[1], k):
            return None
        shape = *queries.shape[:2], k
        found = Neighbors(torch.empty(shape, dtype=torch.int64), queries.new_empty(shape))
        at, put, asked = (one.detach().contiguous().numpy() for one in (slots, words, queries))
        into = found.slots.numpy(), found.scores.numpy()
        return found if self.exchange_arrays(index, at, put, asked, *into) else None

    def begin(self, index: Any, writes: int, queries: int, k: int) -> bool:
        """Whether exchanges of so many words and queries a memory may follow; makes room for them.

        Compiled forms have to be in use.
        """
        overlay = index._overlay
        fits = type(overlay) is ExactIndex and overlay.shares_words and writes <= PAIRS_UP_TO
        fits = fits and overlay.dtype is torch.float32 and queries > 0
        if not fits or overlay._kernels() is None:
            return False
        self._search = index.base.whole_search(k)
        sizes = writes, queries, k
        if self._search is None or not self._pays(index, sizes):
            return False
        if self._sizes != sizes:
            self._sizes, self._entries = sizes, Entries()
            self._scratch = self._search.scratch(index.batch_size, *sizes)
        return True

    @staticmethod
    def _pays(index: Any, sizes: tuple[int, int, int]) -> bool:
        """Whether the overlay is compared in loops, after an exchange."""
        writes, queries, k = sizes
        return compiled_pays(index._map.most + writes, queries, k, l2=False, rounds=False)

    def exchange_arrays(
        self,
        index: Any,
        slots: np.ndarray,
        words: np.ndarray,
        queries: np.ndarray,
        found: np.ndarray,
        scores: np.ndarray,
    ) -> bool:
        """An exchange of the sizes of the last `begin`; arguments as of `exchange`, contiguous.

        What is found goes to `found` and `scores`, [B, Q, k].

        Returns:
            Whether it was made. If not, other forms have to make it, words that were put included.
        """
        if not self._pays(index, self._sizes):
            return False
        overlay, room = index._overlay, index._map.most + slots.shape[1]
        index._map.make_room(room)
        overlay._grow(min(room, index.capacity))  # beyond it would grow at each call
        bound, over = index._slot_bound(), self._over(index)
        how = float(index.config.norm_eps or 0.0), True, bound
        call = self._search.call(slots, words, queries, how, over, self._scratch, (scores, found))
        try:
            return self._search.exchange(call, self._entries)
        finally:  # places may have been handed out before a file turned out to be damaged
            most = int(over.counts.max(initial=0))
            index._map.most = overlay._in_use = most
            index._in_use = bound

    def _over(self, index: Any) -> Any:
        """`index.kernels.base_exchange.Overlay`."""
        from index.kernels.base_exchange import Overlay

        tables, stored = index._map.tables(), (index._overlay._words, index._overlay._penalty)
        made_of = tables, stored[0], index._covered, index._hides_all
        if all(map(is_, made_of, self._made_of)):
            return self._over_now
        if self._made_of[0] is not tables:  # it is another map, or a larger one
            keys = tables[0]
            self._hidden = torch.full(keys.shape, -1)
            self._looked_at = torch.zeros(len(keys), dtype=torch.int64)
        self._made_of, self._entries = made_of, Entries()
        others = index._covered, index._hides_all, self._hidden, self._looked_at, *stored
        self._over_now = Overlay(*tables, *(one.numpy() for one in others))
        return self._over_now
