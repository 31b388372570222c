"""An index that keeps the words themselves, slot by slot: what exact scores need."""

from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index import checks
from index.audit import note
from index.compiled import is_compiled
from index.contents import Contents
from index.errors import ShapeError
from index.neighbors import Neighbors
from index.pages import zeros
from index.pickled import check_pickled
from index.scan import rounded_up, scan
from index.vector_index import VectorIndex

_FIRST_ROOM = 32
# Up to so many words in use, and so many queries a memory, a compiled exact search is faster than
# a product and a top-k; with more queries only for few words. Distances it sums faster always.
_COMPILED_WORDS, _COMPILED_QUERIES = 2**14, 8
_COMPILED_WORDS_OF_MANY = 2**9
# An exchange compares so many slots of a row in pairs to find those that come again.
PAIRS_UP_TO = 64


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

    _options = frozenset({"compiled"})
    _has_twin = False
    """Whether `_compiled_step` does what `_update` and `_search` do."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls)
        if "_has_twin" not in own and ("_update" in own or "_search" in own):
            cls._has_twin = False  # what it does of its own must not be passed over

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
        check_pickled(state)
        vars(self).update(state)
        for name, value in state.items():
            if isinstance(value, Tensor):
                with torch.inference_mode(False):  # or it could not be written to outside of it
                    owned = value.clone() if value.is_inference() else value
                    setattr(self, name, owned.contiguous())
        self._room = self._words.shape[1] - 1
        self._number_rows()
        self._forget_tables()
        self._restore_tables()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copied(self.device)

    def _content(self) -> dict[str, Tensor]:
        used = slice(1, 1 + self._in_use)
        occupied = self._penalty[:, used] == 0
        # As they are scaled: scaled anew they could differ in the last digit, by who does it.
        return {"words": self._words[:, used], "occupied": occupied, "occupancy": occupied.sum(1)}

    def _restore(self, given: Contents) -> None:
        batch_size, width = self.batch_size, self.word_size
        words = given.finite("words", (batch_size, None, width), self.dtype)
        count = words.shape[1]
        occupied = given.tensor("occupied", (batch_size, count), torch.bool)
        # Without a word it says how many memories there are, at bytes that are really there.
        occupancy = given.integers("occupancy", (batch_size,), 0, 1 + count)
        if count > self.capacity or not torch.equal(occupancy, occupied.sum(1)):
            raise given.refuse("occupied", "as many slots as it says", f"{int(occupied.sum())}")
        self._grow(count)
        words = words.masked_fill(~occupied.unsqueeze(2), 0.0)
        self._words[:, 1 : 1 + count] = words.to(self.device)
        self._penalty[:, 1 : 1 + count].masked_fill_(occupied.to(self.device), 0.0)
        self._in_use = count
        self._restore_tables()

    def _forget_tables(self) -> None:
        """Drops what can be made from the words: a pickled index holds the words only."""

    def _restore_tables(self) -> None:
        """Makes it again after loading, unless that is done when it is first needed."""

    def exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        if not self._has_twin or not self._is_compiled:
            return super().exchange(slots, words, queries, k)
        from index.kernels.steps import taken

        self._check_exchange(slots, words, queries, k)
        given = slots if slots.shape[1] <= PAIRS_UP_TO else checks.keep_last(slots)
        cosine, held = self.config.metric == "cosine", (self._words, self._penalty)
        below = min(self._below(), self._room)  # whatever somebody made of them
        last, vectors, finite, low, high = taken(given, words, queries, cosine, *held, below)
        if low < -1 or high >= below:
            checks.check_slot_values(slots, below, look=True)
        if not finite:
            checks.check_finite_together(words, queries)
            # So large that their sum is not finite.
            count = slots.shape[1]
            self._put(self._rows(torch.from_numpy(last)), vectors[:, :count])
        if self._promised is not None and self._promised > self._in_use:
            self._in_use = self._promised
        with self._full_width():
            return note(self, queries, k, self._compiled_step(last, vectors, k))

    def _check_exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> None:
        """Compiled loops look at no bounds: what does not fit must not get as far."""
        batch, dtype, width = self.batch_size, self.dtype, self.word_size
        if (
            k < 1
            or slots.dtype is not torch.int64
            or words.dtype is not dtype
            or queries.dtype is not dtype
            or words.shape != (*slots.shape, width)
            or queries.shape[::2] != (batch, width)
            or len(words) != batch
        ):
            slots = checks.check_slot_tensor(slots, batch, self.device)
            like = batch, slots.shape[1], width
            words = checks.check_vectors("words", words, like, self._like)
            self._checked_queries(queries, k)
            raise ShapeError(
                f"exchange: expected slots of int64 and vectors of {dtype}, got {slots.dtype}, "
                f"{words.dtype}, {queries.dtype}"
            )

    @property
    def _is_compiled(self) -> bool:
        """Whether compiled twins are to be used now."""
        return is_compiled(self.config.compiled, self.device, self.dtype)

    def _compiled_step(self, slots: np.ndarray, vectors: Tensor, k: int) -> Neighbors:
        """What is left of an exchange once the words are stored, by compiled twins.

        Args:
            slots: int64 [B, M], each at most once per row, -1 skipped.
            vectors: words, then queries, checked and scaled, in a row, [B, M + Q, W].
            k: at least 1; more than there are words is legal.
        """
        skip = slots.shape[1]
        queries = vectors[:, skip:]
        if self._is_compiled_exact(queries.shape[1]):
            return self._compiled_exact(vectors, skip, k)
        found = self._exact(queries, min(k, self._in_use))
        missing = 0, k - found.slots.shape[2]
        return Neighbors(
            functional.pad(found.slots, missing, value=-1),
            functional.pad(found.scores, missing, value=-torch.inf),
        )

    def _is_compiled_exact(self, queries: int) -> bool:
        """Whether a compiled exact search is wanted and faster."""
        most = _COMPILED_WORDS if queries <= _COMPILED_QUERIES else _COMPILED_WORDS_OF_MANY
        return (self._in_use <= most or self.config.metric == "l2") and self._is_compiled

    def _compiled_exact(self, vectors: Tensor, skip: int, k: int) -> Neighbors:
        """The true k best for all vectors but the first `skip`."""
        from index.kernels.steps import best_of_all

        held = self._words, self._penalty
        return best_of_all(*held, self._in_use, vectors, skip, k, self.config.metric == "l2")

    def _build(self) -> None:
        is_compiled(self.config.compiled, self.device, self.dtype)  # or its error at once
        self._allocate(0)

    def _allocate(self, room: int) -> None:
        """Makes free rows for `room` slots."""
        kind, shape = (self.dtype, self.device), (self.batch_size, 1 + room)
        words = zeros((*shape, self.word_size), *kind)
        penalty = zeros(shape, *kind).fill_(-torch.inf)
        # Assigned last: where the memory does not suffice the index stays as it was.
        self._words, self._penalty, self._room = words, penalty, room
        self._number_rows()

    def _number_rows(self) -> None:
        with torch.inference_mode(False):  # or it could not be written to outside of it
            batch = torch.arange(self.batch_size, device=self.device)
            self._first_row = (batch * (1 + self._room) + 1).unsqueeze(1)  # of slot 0, [B, 1]

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
        if self._is_compiled_exact(queries.shape[1]):
            return self._compiled_exact(queries.contiguous(), 0, k)
        used = rounded_up(self._in_use)
        words, penalty = self._words.narrow(1, 1, used), self._penalty.narrow(1, 1, used)
        scores, slots = scan(words, penalty, queries, k, self.config.metric)
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)
