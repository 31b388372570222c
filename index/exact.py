"""Exact search: every query against every word in use. The oracle of the other backends.

Also the fastest choice while few slots are in use. Time and bytes follow the highest slot in use,
never the capacity: a fresh index of 2^30 slots takes next to nothing.
"""

from torch import Tensor

from index.neighbors import Neighbors
from index.stored import StoredIndex


class ExactIndex(StoredIndex):
    """Brute force over the slots in use, as one product and one top-k for all memories.

    Among equal scores the order, and which of them are among the k, is unspecified but the same on
    every run. Scores beyond the range of the dtype are not supported.

    Cost: update and remove O(B M W). Search O(B Q R W), with R one more than the highest slot in
    use in any memory since a reset lowered it; more in `index.scan`.
    """

    _takes_repeats = True

    def _update(self, slots: Tensor, words: Tensor) -> None:
        self._put(self._rows(slots), words)

    def _remove(self, slots: Tensor) -> None:
        self._drop(self._rows(slots))

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        return self._exact(queries, k)
