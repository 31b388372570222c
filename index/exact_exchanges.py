"""Exchanges that compare every word, for a caller whose own loops do that.

An index with lists has none while its words are few, or while lists do not pay. All that an
exchange then changes are words, and counts of what was written. So a caller who knows how many
exchanges will be like that can write and compare the words by itself, and have the counts brought
up to date afterwards.
"""

from typing import Any, Self

from torch import Tensor

from index.audit import is_audited

ANY = 2**62  # exchanges; more than any number of steps


class ExactExchanges:
    """Exchanges of M words a memory that go on from where an index is now.

    Args:
        index: a `HashedIndex` without tables.
        writes: M, words without a slot included.
    """

    def __init__(self, index: Any, writes: int) -> None:
        self._index, self._written = index, writes

    @classmethod
    def of(cls, index: Any, writes: int) -> Self | None:
        """None where an exchange does more, or is made by hooks of a backend's own."""
        plain = index._has_compiled_step and not index._storage.rounds and not is_audited()
        return cls(index, writes) if plain and index._lists is None else None

    def most(self, bound: int, more: int) -> int:
        """How many of the next exchanges compare every word for certain; `ANY` for all.

        Args:
            bound: every slot in use is smaller.
            more: by how much that grows with each of them, at most.
        """
        index, bound = self._index, max(bound, self._index._slot_bound())

        def below(limit: int) -> int:
            """How many it takes for certain until as many slots are in use."""
            return ANY if index.capacity < limit else max(0, limit - 1 - bound) // more

        return max(below(index.exact_below), index._rest.exchanges(bound, below, self._written))

    def buffers(self, slots: int) -> tuple[Tensor, Tensor]:
        """Words, as scaled for the metric, and penalties; see `ExactIndex.export_buffers`.

        They have room for `slots`, which do not count as in use before `done` says so.
        """
        self._index._grow(slots)
        return self._index._words, self._index._penalty

    def done(self, exchanges: int, bound: int, *, was_reset: bool) -> None:
        """Brings the index up to date after exchanges of which `most` told.

        Args:
            exchanges: how many.
            bound: what was `reserve`d for the last of them.
            was_reset: whether memories were emptied meanwhile.
        """
        index = self._index
        index._rest.written(exchanges * self._written)
        index.reserve(bound)
        index._in_use = bound if was_reset else max(index._in_use, bound)
