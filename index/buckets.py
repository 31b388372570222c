"""Buckets of fixed size that hold slots: the tables behind every hashed index.

Each of L tables has the same number of buckets for every memory, each bucket the same number of
places, and a place holds one word's row or is free. Three rules keep all words findable while slots
are rewritten at every step: a word whose bucket stays the same stays where it is; a moved word
frees its old place and takes a free one; and what finds no place goes to the next best bucket.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.pages import zeros
from index.table_parts import Parts

# A word looks for a free place in one block of a bucket, which is one cache line.
BLOCK = 16
_MOST = 2**31 - 1  # places and rows are kept as int32
# The number of times that a word looks for a place.
ATTEMPTS = 4
SCATTER = 0x9E3779B1  # odd, so that successive rows go to different blocks

Others = Callable[[Tensor | None], Tensor]
"""Takes the positions of n of the B M words of an update, or None for all of them. Returns their
further choices of bucket, int64 [n, L, C], best first."""


class Tables(NamedTuple):
    """The tables of `Buckets` as arrays, with one more bucket for "no place", and the words."""

    held_rows: np.ndarray  # by place, the row of the word that is there, 0 for none; int32
    places: np.ndarray  # where each word is, by row, int32 [rows, L]
    held_words: np.ndarray  # with one table, the words by place, [places, W]
    words: np.ndarray  # by row, [rows, W]
    size: int  # places of a bucket
    buckets: int  # of a table and memory


class Buckets(Parts):
    """L tables of buckets for each of B memories, on fixed tensors and without a loop over B.

    Words are named by their row in a tensor that holds all memories, int64. Row 0 stands for "no
    word". Words that come at once take free places in the order in which they are given.

    Args:
        batch_size: B.
        tables: L.
        buckets: n, buckets a table and memory.
        size: places a bucket, a multiple of BLOCK.
        words: of all memories, by row, [rows, W]. With one table the buckets hold copies of them,
            so that a bucket is read from start to end; with more they look them up.

    Cost: `put` takes O(M (L + W)) a memory, `look` O(buckets read x size W); bytes
    4 L (n size B + rows), and with one table n size B words.
    """

    def __init__(
        self,
        batch_size: int,
        tables: int,
        buckets: int,
        size: int,
        words: Tensor,
    ) -> None:
        self.tables, self.buckets, self.size = tables, buckets, size
        count = batch_size * tables * buckets
        device, rows = words.device, len(words)
        if max((count + 1) * size, rows) > _MOST:
            raise ValueError(
                f"index: expected at most {_MOST} places in all tables and memories, got "
                f"{(count + 1) * size} for {rows} words; fewer tables or memories may help"
            )
        self._nowhere = count * size  # one more bucket, for "no place"
        places = (count + 1) * size
        self._rows = zeros((places,), torch.int32, device)
        self._places = zeros((rows, tables), torch.int32, device).fill_(self._nowhere)
        self._words: Tensor | None = None
        if tables == 1:
            self._words = zeros((places, words.shape[1]), words.dtype, device)
        with torch.inference_mode(False):  # or they could not be written to outside of it
            first = torch.arange(batch_size * tables, device=device) * buckets
            self._first = first.view(batch_size, 1, tables)  # bucket 0 of each table
            self._sums = torch.ones(BLOCK, BLOCK, device=device).triu()

    def number(self, buckets: Tensor) -> Tensor:
        """The buckets [B, Q, L, P] of each memory's tables, numbered through: [B Q, L P]."""
        return (buckets + self._first.unsqueeze(3)).flatten(2).flatten(0, 1)

    def look(self, numbers: Tensor, words: Tensor) -> tuple[Tensor, Tensor]:
        """Reads the content of buckets.

        Args:
            numbers: of the buckets, int64 [n, P].
            words: by row.

        Returns:
            Rows, int32 [n, P size], 0 for a free place; and their words [n, P size, W].
        """
        rows = self._rows.view(-1, self.size).index_select(0, numbers.view(-1))
        rows = rows.view(len(numbers), numbers.shape[1] * self.size)
        if self._words is None:
            return rows, functional.embedding(rows, words)
        held = self._words.view(-1, self.size * words.shape[1]).index_select(0, numbers.view(-1))
        return rows, held.view(*rows.shape, words.shape[1])

    def put(
        self,
        rows: Tensor,
        real: Tensor,
        words: Tensor,
        first: Tensor,
        others: Others | None,
    ) -> Tensor:
        """Moves words to the buckets chosen for them.

        Args:
            rows: the words' rows, each at most once, int64 [B M].
            real: false for what must be skipped, bool [B, M].
            words: [B, M, W].
            first: their first choice of bucket, int64 [B, M, L].
            others: further choices, if there are any.

        Returns:
            The number of words that found no place in any table.
        """
        target = (first + self._first).view(-1, self.tables)
        old = self._places.index_select(0, rows)
        stay = old.div(self.size, rounding_mode="floor") == target
        stay |= ~real.view(-1, 1)
        self._free(old.masked_fill(stay, self._nowhere))
        new = torch.where(stay, old, self._claim_slot(rows, target.unsqueeze(2), ~stay, 0))
        if others is not None:
            new = self._spill(rows, new, (new == self._nowhere) & ~stay, target, others)
        self._places.index_copy_(0, rows, new)
        if self._words is not None:
            self._words.index_copy_(0, new.view(-1).long(), words.flatten(0, 1))
        return (new == self._nowhere).all(1).logical_and_(real.view(-1)).sum()

    def _spill(
        self, rows: Tensor, new: Tensor, lost: Tensor, target: Tensor, others: Others
    ) -> Tensor:
        """Looks again for the words that have no place in some tables, bool [B M, L].

        First in another block of their own bucket, then in that bucket and the others.
        """
        which: Tensor | None = None
        if target.device.type == "cpu":  # where looking at values is cheap
            which = lost.any(1).nonzero()[:, 0]
            if len(which) == 0:
                return new
            rows, target, lost = rows[which], target[which], lost[which]
        found, targets = torch.full_like(target, self._nowhere, dtype=torch.int32), None
        for attempt in range(1, ATTEMPTS):
            if attempt == 1:  # most words find a place here, without other buckets
                again = self._claim_slot(rows, target.unsqueeze(2), lost, attempt)
            else:
                targets = self._all_targets(target, others(which)) if targets is None else targets
                again = self._claim_slot(rows, targets, lost, attempt)
            found = torch.where(lost, again, found)
            lost = lost & (found == self._nowhere)
            if which is not None and not lost.any():
                break
        found = found.minimum(new if which is None else new[which])
        return found if which is None else new.index_copy_(0, which, found)

    def _all_targets(self, target: Tensor, others: Tensor) -> Tensor:
        """The first choice and then the others, numbered through, [n, L, C]."""
        first = target.div(self.buckets, rounding_mode="floor").mul_(self.buckets)
        return torch.cat((target.unsqueeze(2), others + first.unsqueeze(2)), 2)

    def _claim_slot(self, rows: Tensor, targets: Tensor, wanted: Tensor, attempt: int) -> Tensor:
        """Claims a free place in the first of the target buckets [n, L, C] that has one.

        Every attempt looks at another block of each bucket. Of the words that compete for a block
        the first one given claims its first free place, the second one the next.

        Returns:
            Places, int32 [n, L]; `_nowhere` for a word that is not `wanted` or finds no place.
        """
        blocks = self.size // BLOCK
        drawn = (rows * SCATTER >> 16) + attempt
        chosen = drawn.remainder_(blocks).view(-1, 1, 1) + targets * blocks
        free = self._rows.view(-1, BLOCK).index_select(0, chosen.view(-1)) == 0
        if targets.shape[2] > 1:
            free = free.view(*chosen.shape, BLOCK)
            best = free.any(3).to(torch.int8).argmax(2, keepdim=True)
            free = free.gather(2, best.unsqueeze(3).expand(-1, -1, -1, BLOCK)).view(-1, BLOCK)
            chosen = chosen.gather(2, best)
        chosen = chosen.view(-1)
        turn = _rank(chosen.masked_fill(~wanted.view(-1), -1).unsqueeze(0)).view(-1, 1)
        # The running number of free places: the word takes the first place where it exceeds `turn`.
        sums = free.to(self._sums.dtype) @ self._sums
        within = (sums <= turn).sum(1)
        found = (within < BLOCK).logical_and_(wanted.view(-1))
        new = torch.where(found, chosen * BLOCK + within, self._nowhere)
        self._rows.scatter_(0, new, rows.int().repeat_interleave(self.tables))
        return new.int().view_as(wanted)

    def fill(self, rows: Tensor, real: Tensor, words: Tensor, first: Tensor) -> Tensor:
        """Puts words into empty tables, each in its first choice of bucket.

        Arguments are those of `put`.

        Returns:
            The words that found it full in some table, bool [B, M]; `put` finds them other places.

        Cost: O(L B M log(B M)); for many words at once.
        """
        left = torch.zeros_like(real)
        # Scattered, so that every block of a bucket that is half full has free places.
        generator = torch.Generator().manual_seed(0)
        scattered = torch.randperm(self.size, generator=generator).to(real.device)
        for table in range(self.tables):
            target = (first[:, :, table] + self._first[:, :, table]).masked_fill(~real, -1)
            rank = _rank(target)
            placed = real & (rank < self.size)
            place = target * self.size + scattered[rank.clamp(max=self.size - 1)]
            new = torch.where(placed, place, self._nowhere).view(-1)
            self._rows.scatter_(0, new, rows.int())
            self._places[:, table].index_copy_(0, rows, new.int())
            left |= real & ~placed
            if self._words is not None:
                self._words.index_copy_(0, new, words.flatten(0, 1))
        return left

    def _free(self, places: Tensor) -> None:
        self._rows.index_fill_(0, places.view(-1).long(), 0)

    def remove(self, rows: Tensor) -> None:
        """Takes words out, int64 [n]; those that have no place are skipped."""
        self._free(self._places.index_select(0, rows))
        self._places.index_fill_(0, rows, self._nowhere)

    def clear(self, mask: Tensor, used: int) -> None:
        """Takes out all words of the memories in `mask`, bool [B].

        Args:
            mask: the memories.
            used: rows of each that may have words.

        Cost: O(B used), not O(places).
        """
        places = self._places.view(len(mask), -1, self.tables)[:, :used]
        self._free(places.masked_fill(~mask.view(-1, 1, 1), self._nowhere).reshape(-1))
        places.masked_fill_(mask.view(-1, 1, 1), self._nowhere)

    def arrays(self, words: Tensor) -> Tables:
        """The tables for compiled loops; `words` are those of all memories, by row."""
        held = words[:0] if self._words is None else self._words
        rows, places = self._rows.numpy(), self._places.numpy()
        return Tables(rows, places, held.numpy(), words.numpy(), self.size, self.buckets)

    def unplaced(self, rows: Tensor) -> Tensor:
        """Which of these rows [n] are in no table, bool [n]."""
        return (self._places.index_select(0, rows) == self._nowhere).all(1)

    @property
    def places(self) -> int:
        """How many places there are, of all tables and memories."""
        return self._nowhere

    def taken(self) -> Tensor:
        """How many places hold a word, of all."""
        return (self._rows[: self._nowhere] != 0).sum()


def _rank(keys: Tensor) -> Tensor:
    """How many equal keys come before each one in its row, of int64 [B, M]."""
    ordered, order = keys.sort(dim=1, stable=True)
    place = torch.arange(keys.shape[1], device=keys.device).expand_as(keys)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    start = torch.where(begins, place, 0).cummax(1).values
    return torch.empty_like(keys).scatter_(1, order, place - start)


def whole_blocks(places: float) -> int:
    """The number of places rounded up to whole blocks."""
    return -int(-places // BLOCK) * BLOCK
