"""Exact search: every query against every word in use. The oracle of the other backends.

Also the fastest choice while few slots are in use. Time and bytes follow the highest slot in use,
never the capacity: a fresh index of 2^30 slots takes next to nothing.
"""

from typing import Self

from torch import Tensor

from index.stored import StoredIndex


class ExactIndex(StoredIndex):
    """Brute force over the slots in use, as one product and one top-k for all memories.

    Among equal scores the order, and which of them are among the k, is unspecified but the same on
    every run. Scores beyond the range of the dtype are not supported.

    Cost: update and remove O(B M W). Search O(B Q R W), with R one more than the highest slot in
    use in any memory since a reset lowered it; more in `index.scan`.
    """

    _takes_repeats = True

    # A recall is 1, whatever is asked for.
    shared_options = StoredIndex.shared_options | {"recall", "storage"}

    def emptied(self, slots: int) -> Self:
        """An empty index like this one, which is empty as well, with room for so many slots.

        It takes a fraction of the time that its constructor does.
        """
        other = object.__new__(type(self))
        vars(other).update(vars(self))
        other._allocate(self._room_above(slots) if slots else 0)
        return other

    @property
    def shares_words(self) -> bool:
        """Whether it keeps words as they come, so that others can read and write them."""
        return not self._storage.rounds

    def export_buffers(self, slots: int) -> tuple[Tensor, Tensor]:
        """The index's own tensors, for a caller that keeps them up to date and searches itself.

        Only of an index that `shares_words`. Returns words, as scaled for the metric,
        [B, 1 + room, W], and penalties [B, 1 + room], both by 1 + slot and with room for `slots`. A
        penalty is 0 where there is a word and else -inf; words may be put at slots below `slots`.
        """
        self.reserve(slots)
        self._in_use = max(self._in_use, slots)
        return self._words, self._penalty

    def has_buffers(self, buffers: tuple[Tensor, Tensor], slots: int) -> bool:
        """Whether these are still the tensors that `export_buffers` returns for so many slots."""
        words, penalty = buffers
        return self._words is words and self._penalty is penalty and self._in_use >= slots
