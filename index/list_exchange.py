"""What lets a caller's compiled loop exchange with an index of lists by itself.

An exchange then enters no Python. A loop stops where the index has to do what it does outside of
loops: lists are packed or looked after, recall is looked at, a search found too little. Words,
lists and answers are those of `HashedIndex.exchange`.
"""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from index.audit import is_audited
from index.checks import PAIRS_UP_TO
from index.inverted_lists import InvertedLists
from index.list_groups import WORD_GROUPS
from index.neighbors import Neighbors
from index.storage import as_array
from index.table_building import WORD_SCORES


class ListExchanges:
    """Exchanges of M words and Q queries a memory, until what they need has changed.

    Args:
        index: a `HashedIndex` with tables whose hash is `index.ivf.Lists`.
        writes: M.
        queries: Q.
        k: at most the words in use.
        budget: how many words a query has to meet.

    Attributes:
        arrays: for `index.kernels.list_exchange.exchange`; others after `go_on`.
    """

    def __init__(self, index: Any, writes: int, queries: int, k: int, budget: int) -> None:
        from index.kernels import list_exchange as kernel
        from index.kernels.code_loops import Room
        from index.kernels.lanes import LaneRoom

        self._kernel, self._index, self._k, self._budget = kernel, index, k, budget
        dtype, batch_size = as_array(index._like).dtype, index.batch_size
        self._last = np.empty((batch_size, writes), np.int64)
        self._words = np.empty((batch_size, writes, index.word_size), dtype)
        self._queries = np.empty((batch_size, queries, index.word_size), dtype)
        self._moved = np.empty((queries, index.word_size), dtype)
        self._lanes, self._held = LaneRoom.of(dtype), Room.of(dtype, index.word_size, k)
        self._progress = kernel.Progress(*(np.zeros(1, np.int64) for _ in kernel.Progress._fields))
        asked, width, in_use = batch_size * queries, index.word_size, index._in_use
        met = min(budget, in_use)
        self._of_word = float(width * min(index._hash.scores, WORD_SCORES))
        self._of_search = float(asked * width * (index._hash.scores + met))
        self._of_a_look = float(width * in_use)
        self.arrays = self._arrays()

    @classmethod
    def of(cls, index: Any, writes: int, queries: int, k: int) -> Self | None:
        """None where loops cannot go on by themselves, or should not, as lists do not pay."""
        config = index.config
        plain = index._kernels() is not None and not index._storage.rounds and not is_audited()
        if not plain or not 0 < writes <= PAIRS_UP_TO or not queries or config.refresh_after:
            return None
        if index._lists is None or not index.hash_type.loops or index._ready() is None:
            return None
        budget = index.settled_budget(k, queries)
        return None if budget is None else cls(index, writes, queries, k, budget)

    def _arrays(self) -> Any:
        kernel, index = self._kernel, self._index
        lists: InvertedLists = index._lists
        hashed: Any = index._hash
        centroids = hashed.centroids.arrays()
        groups, lists_each = centroids.group_centers.shape[1], hashed.lists
        room = kernel.Room(
            *(self._last, self._words, self._queries, self._lanes, self._moved),
            np.empty((1, groups), self._moved.dtype),
            np.empty((len(self._moved), lists_each), self._moved.dtype),
            np.empty(lists_each, np.int64),
            self._held,
        )
        metric, eps = index.config.metric, float(index.config.norm_eps or 0.0)
        settings = kernel.Settings(
            *(metric == "cosine", eps, metric == "dot", metric == "l2", WORD_GROUPS, self._budget)
        )
        tuner = index._tuner
        until_look = (
            np.inf if tuner is None else tuner.until_look(self._of_a_look, len(self._moved))
        )
        bounds = kernel.Bounds(
            *(index._in_use, hashed.until_upkeep, float(until_look)),
            *(self._of_word, self._of_search),
        )
        words, penalty = as_array(index._words), index._penalty.numpy()
        how = lists.arrays(index._flat), centroids, room, settings, bounds, self._progress
        return kernel.ListExchange(words, penalty, *how)

    def go_on(
        self, why: int, slots: Tensor, words: Tensor, queries: Tensor, best: Neighbors
    ) -> bool:
        """Does what a loop has stopped for.

        Args:
            why: what `exchange` returned.
            slots, words, queries: of the exchange.
            best: its answers, [B, Q, k]; filled in if they are there.

        Returns:
            Whether the loop may go on with this exchange. If not, it is done; for the next one
            `of` has to be asked again.

        Raises:
            As `VectorIndex.exchange`; the index is then as before.
        """
        kernel, index = self._kernel, self._index
        self.close()
        if why == kernel.NO_ROOM:
            index.pack_lists()
        if why in (kernel.NO_ROOM, kernel.UPKEEP):
            self.arrays = self._arrays()
            return True
        if why == kernel.REFUSED:
            found = index.exchange(slots, words, queries, self._k)
        elif why == kernel.LOOK:
            asked = torch.from_numpy(self._queries)
            found = index._padded_to(index._search(asked, min(self._k, index._in_use)), self._k)
        else:
            found = index._completed(index._lists, torch.from_numpy(self._queries), best)
        for mine, its in zip(best, found, strict=True):
            mine.copy_(its)
        return False

    def close(self) -> None:
        """Tells the index what loops have done since the last time."""
        progress, index = self._progress, self._index
        written, searches = int(progress.written[0]), int(progress.searches[0])
        if searches:
            index._candidates = int(progress.met[0]) / (self._queries[:, :, 0].size or 1)
        index.count_exchanges(written, self._of_search * searches)
        progress.written[0] = progress.searches[0] = 0
