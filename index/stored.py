"""An index that keeps the words themselves, slot by slot: what exact scores need."""

from typing import Any, Self

import torch
from torch import Tensor

from index.base import VectorIndex
from index.neighbors import Neighbors
from index.scan import rounded_up, scan

_FIRST_ROOM = 32


class StoredIndex(VectorIndex):
    """Words by slot, in one tensor for all memories; the base of every backend of this package.

    The words lie in one tensor [B, 1 + room, W] whose room doubles when a higher slot comes. Slot s
    is row s + 1: row 0 takes what is written to slot -1 and is never searched. A second tensor
    holds 0 for an occupied row and -inf for a free one, and is added to the scores.

    An index is a cache of its words: pickled, it holds the words only, and what a backend made from
    them is made anew after loading. A clone and a deepcopy are copies of all.

    Cost: update and remove O(B M W) beside what the backend does. Bytes follow the highest slot in
    use since all memories were last reset, never the capacity.
    """

    def search_exact(self, queries: Tensor, k: int) -> Neighbors:
        """`search`, by comparing every query with every word: what recall is measured against.

        Arguments, result and errors are those of `search`.

        Cost: O(B Q R W), with R one more than the highest slot in use.
        """
        queries = self._checked_queries(queries, k)
        return self._padded(queries, k, self._exact)

    def __getstate__(self) -> dict[str, Any]:
        other = self.twin()
        other._forget_tables()
        return vars(other)

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._restore_tables()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copied(self.device)

    def _forget_tables(self) -> None:
        """Drops what can be made from the words: a pickled index holds the words only."""

    def _restore_tables(self) -> None:
        """Makes it again after loading, unless that is done when it is first needed."""

    def _build(self) -> None:
        self._allocate(0)

    def _allocate(self, room: int) -> None:
        """Makes free rows for `room` slots."""
        with torch.inference_mode(False):  # or they could not be written to outside of it
            words = self._like.new_zeros(self.batch_size, 1 + room, self.word_size)
            penalty = self._like.new_full((self.batch_size, 1 + room), -torch.inf)
            batch = torch.arange(self.batch_size, device=self.device)
        # Assigned last: where the memory does not suffice the index stays as it was.
        self._words, self._penalty, self._room = words, penalty, room
        self._first_row = (batch * (1 + room) + 1).unsqueeze(1)  # of slot 0, [B, 1]

    def _grow(self, slots: int) -> None:
        if slots <= self._room:
            return
        words, penalty, held = self._words, self._penalty, 1 + self._in_use
        room = 1 << (max(slots, 2 * self._room, _FIRST_ROOM) - 1).bit_length()
        self._allocate(rounded_up(min(self.capacity, room)))
        self._words[:, :held] = words[:, :held]
        self._penalty[:, :held] = penalty[:, :held]

    def _rows(self, slots: Tensor) -> Tensor:
        """Where slots [B, M] lie when the memories stand one after another, [B M]."""
        return (slots + self._first_row).view(-1)

    @property
    def _flat(self) -> Tensor:
        """The words by row, all memories one after another."""
        return self._words.view(-1, self.word_size)

    def _neighbors(self, scores: Tensor, rows: Tensor) -> Neighbors:
        """What was found, as slots: scores [B, Q, k], -inf where nothing was, and rows."""
        slots = rows - self._first_row.unsqueeze(2)
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)

    def _put(self, rows: Tensor, words: Tensor) -> None:
        self._flat.index_copy_(0, rows, words.reshape(len(rows), -1))
        self._penalty.view(-1).index_fill_(0, rows, 0.0)

    def _drop(self, rows: Tensor) -> None:
        self._flat.index_fill_(0, rows, 0.0)
        self._penalty.view(-1).index_fill_(0, rows, -torch.inf)

    def _reset(self, rows: Tensor | None) -> None:
        words = self._words[:, : 1 + self._in_use]
        penalty = self._penalty[:, : 1 + self._in_use]
        if rows is None:
            words.zero_()
            penalty.fill_(-torch.inf)
            return
        words.masked_fill_(rows.view(-1, 1, 1), 0.0)
        penalty.masked_fill_(rows.view(-1, 1), -torch.inf)
        if self.device.type == "cpu":  # elsewhere a look would wait for the device
            used = (penalty[:, 1:] == 0).any(0).nonzero()
            self._in_use = int(used[-1]) + 1 if len(used) else 0

    @property
    def occupancy(self) -> Tensor:
        return (self._penalty[:, 1 : 1 + self._in_use] == 0).sum(1)

    def _exact(self, queries: Tensor, k: int) -> Neighbors:
        """The true k best of checked and scaled queries."""
        used = rounded_up(self._in_use)
        words, penalty = self._words.narrow(1, 1, used), self._penalty.narrow(1, 1, used)
        scores, slots = scan(words, penalty, queries, k, self.config.metric)
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)
