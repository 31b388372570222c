"""Exchanges with an index of lists for a caller that makes many of the same sizes.

Arrays are kept from one to the next, and what cannot have changed is not looked at again. Words,
lists and answers are those of `HashedIndex.exchange`.
"""

from typing import Any, Self

import numpy as np
import torch

from index.audit import is_audited
from index.checks import PAIRS_UP_TO
from index.entries import Entries
from index.list_budget import look_costs, search_cost, settled_budget
from index.list_glance import before_a_glance, glance_at
from index.list_groups import WORD_GROUPS
from index.list_search import completed
from index.neighbors import Neighbors
from index.storage import as_array
from index.table_building import WORD_SCORES


class ListExchanges:
    """Exchanges of M words and Q queries a memory, until what they rest on has changed.

    Args:
        index: a `HashedIndex` with tables whose hash is `index.ivf.Lists`.
        writes: M.
        queries: Q.
        k: at most the words in use.
        budget: how many words a query has to meet.
    """

    def __init__(self, index: Any, writes: int, queries: int, k: int, budget: int) -> None:
        from index.kernels.code_loops import Room
        from index.kernels.lanes import LaneRoom

        self._index, self._k, self._budget, width = index, k, budget, index.word_size
        dtype, batch_size = as_array(index._like).dtype, index.batch_size
        metric = index.config.metric
        self._last = np.empty((batch_size, writes), np.int64)
        self._scaled = np.empty((batch_size, writes + queries, width), dtype)
        self._words = np.empty((batch_size, writes, width), dtype)
        self._queries = np.empty((batch_size, queries, width), dtype)
        self._moved = np.empty((queries, width), dtype)
        self._lanes, self._held = LaneRoom.of(dtype), Room.of(dtype, width, k)
        self._scaling = metric == "cosine", float(index.config.norm_eps or 0.0)
        self._comparing = metric == "dot", metric == "l2"
        self._asked = batch_size * queries
        self._written = self._searches = 0
        self._renew()

    @classmethod
    def of(cls, index: Any, writes: int, queries: int, k: int) -> Self | None:
        """None where an exchange has to look at everything, or where lists do not pay."""
        plain = index._kernels() is not None and not index._storage.rounds and not is_audited()
        if not plain or not 0 < writes <= PAIRS_UP_TO or not queries or index.config.refresh_after:
            return None
        if index._lists is None or not index.hash_type.grows or index._ready() is None:
            return None
        budget = settled_budget(index, k, queries)
        return None if budget is None else cls(index, writes, queries, k, budget)

    def _renew(self) -> None:
        """Takes the arrays of the index as they are, and how long it may go on like this."""
        self._entries = Entries()
        index, hashed, count = self._index, self._index._hash, len(self._moved)
        lists, centroids = index._lists.arrays(index._flat), hashed.centroids.arrays()
        self._tables, dtype = (centroids, lists), self._moved.dtype
        self._near = np.empty((1, centroids.group_centers.shape[1]), dtype)
        self._scores = np.empty((count, hashed.lists), dtype)
        self._order = np.empty((2, hashed.lists), np.int64)
        self._kept = as_array(index._words), index._penalty.numpy()
        self._of_word = float(index.word_size * min(hashed.scores, WORD_SCORES))
        self._of_search = search_cost(index, self._queries.size, self._budget)
        self._until_upkeep = hashed.until_upkeep
        self._until_look = self._words_until_look = np.inf
        if index._tuner is not None:
            tuner = index._tuner
            self._until_look = tuner.until_look(look_costs(index, count, self._k))
            self._words_until_look = index.batch_size * tuner.words_until_look

    def begin(self, slots: int) -> bool:
        """Promises what `VectorIndex.reserve` does, for the next exchange. Returns True."""
        self._index.reserve(slots)
        return True

    def exchange(
        self,
        slots: np.ndarray,
        words: np.ndarray,
        queries: np.ndarray,
        found: np.ndarray,
        scores: np.ndarray,
    ) -> bool:
        """Puts words at slots, and answers queries. All arrays are contiguous.

        Args:
            slots: int64 [B, M], -1 for none; words: [B, M, W]; queries: [B, Q, W].
            found, scores: slots and scores go here, int64 and of the dtype of words, [B, Q, k].

        Returns:
            Whether the next exchange may be made in this way, too; if not, `of` has to be asked
            again.

        Raises:
            As `VectorIndex.exchange`; the index is then as before.
        """
        index, bound, best = self._index, self._index._slot_bound(), (found, scores)
        goes_on = index._in_use == bound or self._goes_on(bound)
        if not goes_on or not self._put(slots, words, queries):
            self.close()
            given = (torch.from_numpy(array) for array in (slots, words, queries))
            return _fill(best, index.exchange(*given, self._k))
        # After upkeep there may be more lists.
        if self._written >= self._until_upkeep and not self._goes_on(index._in_use):
            return _fill(best, self._searched())
        spent = self._written * self._of_word + (self._searches + 1) * self._of_search
        if spent >= self._until_look or self._written >= self._words_until_look:
            self.close()
            return _fill(best, self._searched())
        return self._find(best)

    def _goes_on(self, in_use: int) -> bool:
        """Tells the index what was done; False if lists do not pay any more."""
        self.close()
        self._index._in_use = in_use
        budget = settled_budget(self._index, self._k, len(self._moved))
        if budget is None:
            return False
        self._budget = budget
        self._renew()
        return True

    def close(self) -> None:
        """Tells the index what was done since the last time."""
        written, searches = self._written, self._searches
        self._written = self._searches = 0
        given = written, searches, self._asked, searches * self._of_search
        self._index.count_exchanges(*given, self._last)

    def _put(self, slots: np.ndarray, words: np.ndarray, queries: np.ndarray) -> bool:
        """Puts words into lists and scales queries; False, and nothing, if something is wrong."""
        from index.kernels.lists import put_nearest
        from index.kernels.prepare import prepare

        last, below = self._last, self._index._in_use
        given = slots, words, queries, *self._scaling, last, self._scaled, *self._kept, below
        finite, low, high = self._entries.call(prepare, given)
        if not finite or low < -1 or high >= below:
            return False
        np.copyto(self._words, self._scaled[:, : last.shape[1]])
        np.copyto(self._queries, self._scaled[:, last.shape[1] :])
        done = 0
        while True:
            rooms = self._lanes, self._moved[:1], self._near, self._scores[:1]
            given = last, self._words, WORD_GROUPS, *self._tables, *rooms, done
            done = self._entries.call(put_nearest, given)
            if done == last.size:
                break
            self._index.pack_lists()
            self._renew()
        self._written += int((last >= 0).sum())
        return True

    def _find(self, best: tuple[np.ndarray, np.ndarray]) -> bool:
        from index.kernels.lists import find_near

        tuner = self._index._tuner
        glances = tuner is not None and tuner.glances.due(self._of_search)
        if glances:
            before_a_glance(self._scores)
        rooms = self._lanes, self._order, (self._moved, self._scores, self._held), best[::-1]
        given = self._queries, *self._comparing, self._budget, *self._tables, *rooms
        met, short = self._entries.call(find_near, given)
        self._index.saw(met / self._queries[:, :, 0].size, self._budget)
        self._searches += 1
        if glances:
            self._glance(best[0])
        if not short:
            return True
        asked, lists = torch.from_numpy(self._queries), self._index._lists
        self.close()  # which may make tables anew
        near = Neighbors(*map(torch.from_numpy, best))
        return _fill(best, completed(self._index, lists, asked, near))

    def _glance(self, found: np.ndarray) -> None:
        """Glances at a search: a look may come earlier for it."""
        index, tuner = self._index, self._index._tuner
        needed = glance_at(index._lists, self._scores, found)
        if needed is not None:
            tuner.glance(self._k, needed)
            self._until_look = tuner.until_look(look_costs(index, len(self._moved), self._k))

    def _searched(self) -> Neighbors:
        """What a search by the index finds, which looks at its recall first."""
        index, k = self._index, self._k
        return index._padded_to(
            index._search(torch.from_numpy(self._queries), min(k, index._in_use)), k
        )


def _fill(best: tuple[np.ndarray, np.ndarray], found: Neighbors) -> bool:
    """Takes what was found in another way; False, since what came before may not hold."""
    for mine, its in zip(best, found, strict=True):
        np.copyto(mine, its.numpy())
    return False
