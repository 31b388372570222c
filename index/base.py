"""The contract of an index: top-k lookup among slots whose words change.

An index serves B independent memories of up to `capacity` slots each, searched and updated
together. `VectorIndex` does what is the same for every backend: checking, dropping repeated slots,
scaling for the metric, growing, padding. A backend is left with its own storage and clean input.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Self

import torch
from torch import Tensor

from index import checks
from index.audit import note
from index.config import IndexConfig
from index.neighbors import Neighbors, nothing
from index.parts import Parts
from index.stats import IndexStats

# Inside both norms of the cosine: a zero word or query scores 0 and never divides by 0.
COSINE_EPS = 1e-6


class VectorIndex(Parts, ABC):
    """Words at slots, replaced and looked up by similarity; no gradient passes through.

    A backend implements `_build`, `_grow`, `_update`, `_remove`, `_search`, `_reset` and
    `occupancy`. Under the cosine metric these see words and queries divided by n(v), so that a
    backend knows inner products and l2 only. A backend whose state is not in attributes that are
    tensors or `Parts` overrides `copied` and `nbytes`.

    Args:
        config: what was asked for; `make_index` also takes a name.
        batch_size: B, the number of memories.
        capacity: slots per memory; costs nothing before slots are used.
        word_size: W.
        device: where the index lives; the CPU unless told.
        dtype: float32 or float64; words and queries of other floating dtypes are converted.

    Raises:
        ValueError: a size is below 1, the dtype is neither float32 nor float64, or the config has
            an option that the backend has no use for.
    """

    _options: frozenset[str] = frozenset()
    """Which of `IndexConfig.given` the backend makes use of."""
    _takes_repeats = False
    """Whether `_update` takes a slot several times a row as long as its word is the same."""

    def __init__(
        self,
        config: IndexConfig,
        *,
        batch_size: int,
        capacity: int,
        word_size: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        if not isinstance(config, IndexConfig):
            raise TypeError(f"config: expected an IndexConfig, got {config!r}; see make_index")
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        for name in config.given():
            if name not in self._options:
                raise ValueError(f"{name}: not an option of index {config.kind!r}")
        self.config = config
        self.batch_size = checks.check_size("batch_size", batch_size)
        self.capacity = checks.check_size("capacity", capacity)
        self.word_size = checks.check_size("word_size", word_size)
        self._like = torch.empty(0, device=device or "cpu", dtype=dtype)
        self._root_eps = self._like.new_tensor(COSINE_EPS**0.5)
        self._in_use = 0  # every occupied slot is below it
        self._promised: int | None = None  # every slot to come is below it
        self._build()

    @property
    def device(self) -> torch.device:
        """Where the index lives; what it is given must live there too."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of stored words and of scores."""
        return self._like.dtype

    def update(self, slots: Tensor, words: Tensor) -> None:
        """Puts words at slots, in place of what was there; the next search sees them.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped; of a slot that comes twice in
                a row the last word counts.
            words: [B, M, W], finite, at skipped slots too.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: a slot is out of range.
            NonFiniteError: a word is not finite.
            Whatever is raised, the index is as before.

        Cost: away from the CPU this waits for the device, unless `reserve` was called.
        """
        slots = checks.check_slot_tensor(slots, self.batch_size, self.device)
        shape = (self.batch_size, slots.shape[1], self.word_size)
        words = checks.check_vectors("words", words, shape, self._like)
        look = self._promised is None or self.device.type == "cpu"
        limit = self.capacity if self._promised is None else self._promised
        highest = checks.check_slot_values(slots, limit, look=look)
        if slots.shape[1] == 0:
            return
        if highest >= self._in_use:
            self._grow(highest + 1)
            self._in_use = highest + 1
        self._update(checks.keep_last(slots), self._scaled(words))

    def load(self, words: Tensor) -> None:
        """Puts words at slots 0, 1, ... of each memory, in place of what was there.

        Args:
            words: [B, n, W], finite, n at most `capacity`; a view that repeats the same words for
                each memory is not copied first.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: there are more words than slots.
            NonFiniteError: a word is not finite.

        Cost: O(B n W), once; an approximate backend also builds its tables.
        """
        shape = (self.batch_size, None, self.word_size)
        words = checks.check_vectors("words", words, shape, self._like)
        count = words.shape[1]
        if count > self.capacity:
            raise ValueError(f"words: expected at most capacity={self.capacity}, got {count}")
        if count == 0:
            return
        if count > self._in_use:
            self._grow(count)
            self._in_use = count
        slots = torch.arange(count, device=self.device).expand(self.batch_size, -1)
        self._update(slots, self._scaled(words))

    def remove(self, slots: Tensor) -> None:
        """Forgets the words at slots; a slot that holds none is legal.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped.

        Raises:
            ShapeError, ValueError: as `update`.
        """
        slots = checks.check_slot_tensor(slots, self.batch_size, self.device)
        look = self.device.type == "cpu"
        checks.check_slot_values(slots, self.capacity, look=look)
        if slots.shape[1] and self._in_use:
            self._remove(checks.keep_last(slots.masked_fill(slots >= self._in_use, -1)))

    def search(self, queries: Tensor, k: int) -> Neighbors:
        """Finds for each query the k words with the highest scores.

        Args:
            queries: [B, Q, W], finite.
            k: how many, at least 1; more than there are words is legal.

        Returns:
            Slots and scores [B, Q, k]. Scores are exact for the slots returned.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            ValueError: k is below 1.
            NonFiniteError: a query is not finite.
        """
        queries = self._checked_queries(queries, k)
        return note(self, queries, k, self._padded(queries, k, self._search))

    def _checked_queries(self, queries: Tensor, k: int) -> Tensor:
        checks.check_size("k", k)
        shape = (self.batch_size, None, self.word_size)
        return checks.check_vectors("queries", queries, shape, self._like)

    def _padded(
        self, queries: Tensor, k: int, search: Callable[[Tensor, int], Neighbors]
    ) -> Neighbors:
        """What `search` finds for checked queries, as far as words exist, then -1."""
        existing = min(k, self._in_use)
        if existing == 0:
            return nothing(queries, k)
        if torch.is_autocast_enabled(self.device.type):  # which would score in half precision
            with torch.autocast(self.device.type, enabled=False):
                near = search(self._scaled(queries), existing)
        else:
            near = search(self._scaled(queries), existing)
        if existing == k:
            return near
        pairs = zip(near, nothing(queries, k - existing), strict=True)
        return Neighbors(*(torch.cat(pair, -1) for pair in pairs))

    def exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        """`update`, then `search`, for the inner loop of a caller that knows what it does.

        Arguments and result are theirs. The caller promises, and nobody looks, that shapes, dtypes
        and devices are as they say, that slots are below what was `reserve`d, and that a slot that
        comes twice in a row comes with the same word.

        Raises:
            NonFiniteError: a word or query is not finite; the index is as before.
        """
        if torch.is_grad_enabled():
            words, queries = words.detach(), queries.detach()
        checks.check_finite_together(words, queries)
        if self._promised is not None and self._promised > self._in_use:
            self._in_use = self._promised
        self._update(slots if self._takes_repeats else checks.keep_last(slots), self._scaled(words))
        return note(self, queries, k, self._padded(queries, k, self._search))

    def reset(self, rows: Tensor | None = None) -> None:
        """Forgets all words of some memories; without `rows` of all, and lifts `reserve`'s promise.

        Args:
            rows: bool [B], true for the memories to empty.

        Raises:
            ShapeError: `rows` is not bool [B] on the device of the index.

        Cost: O(slots in use), whatever the capacity.
        """
        if rows is None:
            self._reset(None)
            self._in_use, self._promised = 0, None
            return
        checks.check_rows(rows, self.batch_size, self.device)
        if self._in_use and (self.device.type != "cpu" or bool(rows.any())):
            self._reset(rows)

    def reserve(self, slots: int) -> None:
        """Promises that all slots to come are below `slots`, until the next call of `reserve`.

        Makes room for that many slots. With the promise an update away from the CPU need not wait
        for the device to learn how high its slots are; a slot that breaks it is an error. There a
        search looks at all promised slots, so promise no more than will be used.

        Args:
            slots: at least 1, at most `capacity`.

        Raises:
            ValueError: it is not.
        """
        if checks.check_size("slots", slots) > self.capacity:
            raise ValueError(f"slots: expected at most capacity={self.capacity}, got {slots}")
        self._grow(slots)
        self._promised = slots

    def clone(self) -> Self:
        """An independent index with the same content. Cost: O(bytes of the index)."""
        return self.copied(self.device)

    def to(self, device: torch.device | str) -> Self:
        """The index itself if it lives on `device`, otherwise a copy there."""
        target = torch.empty(0, device=device).device
        return self if target == self.device else self.copied(target)

    @property
    def searching(self) -> str:
        """What answers a search now: "exact", or the kind where that is approximate."""
        return self.config.kind

    def stats(self) -> IndexStats:
        """Occupancy, candidates per query, bucket fill, bytes; see `IndexStats`."""
        return IndexStats(self.searching, self.occupancy, self._in_use, None, 0, 0, self.nbytes)

    @property
    @abstractmethod
    def occupancy(self) -> Tensor:
        """How many slots of each memory hold a word, int64 [B]."""

    @abstractmethod
    def _build(self) -> None:
        """Makes the empty state, at the end of construction."""

    @abstractmethod
    def _update(self, slots: Tensor, words: Tensor) -> None:
        """Puts words [B, M, W] at int64 slots [B, M]: each at most once per row, -1 skipped."""

    @abstractmethod
    def _remove(self, slots: Tensor) -> None:
        """Forgets int64 slots [B, M] < `_in_use`: each at most once per row, -1 skipped."""

    @abstractmethod
    def _search(self, queries: Tensor, k: int) -> Neighbors:
        """Answers [B, Q, W]; 1 <= k <= `_in_use`, which may be more than the occupied slots."""

    @abstractmethod
    def _reset(self, rows: Tensor | None) -> None:
        """Empties all memories, or those of the bool [B], and may lower `_in_use`."""

    @abstractmethod
    def _grow(self, slots: int) -> None:
        """Makes room for slots below `slots`; a backend without storage by slot does nothing."""

    def _scaled(self, vectors: Tensor) -> Tensor:
        """Divides by n(v) = sqrt(v.v + eps) where the metric is the cosine."""
        if self.config.metric != "cosine":
            return vectors
        lengths = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        return vectors / torch.hypot(lengths, self._root_eps)
