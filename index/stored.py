"""An index that keeps the words themselves, slot by slot: what exact scores need."""

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index import stored_exchange, stored_files, stored_rows
from index.compiled import is_compiled
from index.config import IndexConfig
from index.contents import Contents
from index.exact_costs import compiled_pays
from index.given import Vectors, as_given
from index.neighbors import IndexStats, Neighbors
from index.pages import Reserve, ordinary_tensors, zeros
from index.recall_tuner import RecallTuner
from index.rescore import best_candidates
from index.scan import rounded_up, scan
from index.storage import storage_of
from index.vector_index import VectorIndex

_FIRST_ROOM = 32
_RESERVED_FROM = 2**20  # bytes of words: fewer are copied in no time


class StoredIndex(VectorIndex):
    """Words by slot, in one tensor for all memories; the base of every backend of this package.

    It is complete: a class that derives from it and adds nothing is an exact index. A backend
    overrides the hooks for which it has something better, and calls `super()` for the storage:

    - `_build()`: make the empty state, after `super()._build()`. Settings are in `config`, options
      of the backend in `options`.
    - `_update(slots, words)`: `super()._update` stores the words; then put them into your tables.
    - `_remove(slots)`: `super()._remove` drops the words; then take them out of your tables.
    - `_reset(rows)`: empty your tables, then call `super()._reset`.
    - `_grow(slots)`: `super()._grow` makes room; then `_room` slots fit and `_words` is another
      tensor.
    - `_search(queries, k)`: find slots by your tables and pass them to `_rescored`, which computes
      exact scores; or return `_exact(queries, k)`, which compares every word.
    - `_restore_tables()`: called after loading, when only the words are there.
    - `_table_content()` and `_restore_table(given)`: what `save` writes beside the words, and how
      it is taken back. Without them the tables are built again.
    - `_take_tables(parts)`, `_put_tables(memories, other)`: called when memories came from other
      indexes. Without them the tables are built again.
    - `searching`: a property; say "exact" while that answers every query, else the kind.

    The words lie in `_words`, [B, 1 + room, W]. Slot s is row s + 1: row 0 takes what is written to
    slot -1 and is never searched. `_penalty`, [B, 1 + room], holds 0 for an occupied row and -inf
    for a free one, and is added to the scores. `_in_use` is above every occupied slot. A backend
    with "storage" among its `shared_options` reads words by `_storage.decode`: what lies in
    `_words` then is what is kept of them, [B, 1 + room, width].

    An index is a cache of its words: a pickle holds the settings and the words only, and the rest
    is built again. A clone and a deepcopy are copies of all attributes.

    Cost: update and remove O(B M W) beside what the backend does. Bytes follow the highest slot in
    use since all memories were last reset, never the capacity.
    """

    shared_options = frozenset({"compiled"})
    _has_compiled_step: ClassVar[bool] = True
    """Whether `_compiled_step` does what `_update` and `_search` do."""

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        own = vars(cls)
        if "_has_compiled_step" not in own and ("_update" in own or "_search" in own):
            cls._has_compiled_step = False  # or the hooks of the subclass would be skipped

    def search_exact(self, queries: Vectors, k: int) -> Neighbors:
        """`search`, by comparing every query with every word: what recall is measured against.

        Arguments, result and errors are those of `search`.

        Cost: O(B Q R W), with R one more than the highest slot in use.
        """
        found = self.true_neighbors(*self._checked_queries(queries, k))
        return as_given(found, queries, self.batched)

    def true_neighbors(self, queries: Tensor, k: int) -> Neighbors:
        """`search_exact` for checked queries [B, Q, W], with or without a batch dimension."""
        return self._padded(queries, k, self._exact)

    @property
    def recall_target(self) -> float | None:
        """The recall@k that searches shall have on the mean, which may be set.

        None if the index is exact, looks into a given number of lists, or has none. If set, it
        takes the place of `probes`.
        """
        return None if self._tuner is None else self._tuner.target

    @recall_target.setter
    def recall_target(self, target: float) -> None:
        IndexConfig(recall=target)  # raises its error
        if not self._has_lists:
            raise ValueError(
                f"recall_target: expected an index with lists, got index {self.config.kind!r}"
            )
        if self._tuner is None:  # `probes` were given
            self._tuner = RecallTuner(target)
        self._tuner.target = target

    def _occupancy(self) -> Tensor:
        return (self._penalty[:, 1 : 1 + self._in_use] == 0).sum(1)

    def stats(self) -> IndexStats:
        """As `VectorIndex.stats`; candidates are those that the last search passed to `_rescored`.

        A backend whose tables are filled, or that compares words elsewhere, overrides it.
        """
        found, tuner = super().stats(), self._tuner
        if tuner is not None:
            found = found._replace(
                recall_target=tuner.target, recall_estimate=tuner.estimate(), watched=tuner.watched
            )
        exact = self.searching == "exact"
        return found if exact else found._replace(candidates=self._candidates)

    # The hooks of VectorIndex.

    def _build(self) -> None:
        is_compiled(self.config.compiled, self.device, self.dtype)  # raises its error at once
        self._storage = storage_of(self.config.storage, self.dtype, self.word_size)
        self._candidates = 0.0
        self._tuner: RecallTuner | None = None
        self._has_lists = False  # whether a search may look into more or fewer of them
        self._allocate(0)

    def _grow(self, slots: int) -> None:
        if slots <= self._room:
            return
        words, penalty, held = self._words, self._penalty, 1 + self._in_use
        room = self._room_above(slots)
        if not self._lengthen(room):
            self._allocate(room)
            if held > 1:  # else there is nothing but the row of slot -1
                self._words[:, :held] = words[:, :held]
        if held > 1:
            self._penalty[:, :held] = penalty[:, :held]

    def _lengthen(self, room: int) -> bool:
        """Makes room without a copy of the words, if there is one memory, and a large one."""
        if self.batch_size != 1 or self._words.nbytes < _RESERVED_FROM:
            return False
        most = 1 + rounded_up(self.capacity)
        words = self._reserve.grown(self._words[0], 1 + room, most)
        if words is None:
            return False
        self._hold(words.unsqueeze(0), self._closed(room))
        return True

    def _room_above(self, slots: int) -> int:
        """How many slots there is room for once it has grown to have so many."""
        room = 1 << (max(slots, 2 * self._room, _FIRST_ROOM) - 1).bit_length()
        return rounded_up(min(self.capacity, room))

    def _update(self, slots: Tensor, words: Tensor) -> None:
        self._put(self._rows(slots), words)

    def _remove(self, slots: Tensor) -> None:
        rows = self._rows(slots)
        self._flat.index_fill_(0, rows, 0)
        self._penalty.view(-1).index_fill_(0, rows, -torch.inf)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        return self._exact(queries, k)

    def _reset(self, rows: Tensor | None) -> None:
        words = self._words[:, : 1 + self._in_use]
        penalty = self._penalty[:, : 1 + self._in_use]
        if rows is None:
            words.zero_()
            penalty.fill_(-torch.inf)
            return
        words.masked_fill_(rows.view(-1, 1, 1), 0)
        penalty.masked_fill_(rows.view(-1, 1), -torch.inf)
        if self.device.type == "cpu":  # elsewhere a look would wait for the device
            used = (penalty[:, 1:] == 0).any(0).nonzero()
            self._in_use = int(used[-1]) + 1 if len(used) else 0

    def _table_content(self) -> dict[str, Tensor]:
        """What the backend keeps beside the words, for `_restore_table`; nothing by default.

        A file then has it, and the loaded index need not make it again. Names are without dots.
        Numbers that are needed to understand the tables, such as a version of their layout, can be
        put into small tensors.
        """
        return {}

    def _restore_table(self, given: Contents) -> None:
        """Takes what `_table_content` returned, as a file has it; called when the words are there.

        Only called if the file has tables. Each part must be taken with a method of `given`, which
        checks it: its shape, and the bounds of everything that will be used as a position, for the
        file may come from a stranger. The tensors lie on the CPU, are nobody else's, and may be
        kept and written to. `given.refuse` makes the error for what does not fit. By default, or
        for tables of another layout, all parts are ignored and the tables made again:
        ``given.ignore()``, then ``self._restore_tables()``.
        """
        given.ignore()
        self._restore_tables()

    def _restore_tables(self) -> None:
        """Builds again what is made from the words, unless that is done when it is first needed."""

    # Some of the memories; see `index.stored_rows`.

    rows = stored_rows.rows
    cat = staticmethod(stored_rows.cat)
    put = stored_rows.put
    row_kind = property(stored_rows.row_kind)

    def _take_tables(self, parts: Sequence[tuple[Any, Tensor]]) -> None:
        """Makes tables for words that came from memories of other indexes, one after another.

        Args:
            parts: an index, and which of its memories, int64 [n].
        """
        self._restore_tables()

    def _put_tables(self, memories: Tensor, other: Any) -> None:
        """Brings tables up to date after the words of some memories became those of an index."""
        self._restore_tables()

    # Files, pickles and copies; see `index.stored_files`.

    def _content(self) -> dict[str, Tensor]:
        return stored_files.content(self)

    def _file_content(self) -> dict[str, Tensor]:
        return stored_files.file_content(self)

    def _restore(self, given: Contents) -> None:
        stored_files.restore(self, given)

    def __getstate__(self) -> dict[str, Any]:
        return stored_files.pickled(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        stored_files.unpickle(self, state)

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self.copied(self.device)

    # Compiled forms of the inner loops.

    def _kernels(self) -> ModuleType | None:
        """The compiled forms, if they are to be used now: the one place where that is decided."""
        chosen = self.config.compiled
        if chosen is False or not is_compiled(chosen, self.device, self.dtype):
            return None
        from index.kernels import steps

        return steps

    def _checked_words(self, words: Vectors, count: int | None) -> Tensor:
        checked = super()._checked_words(words, count)
        self._check_storable(checked if self.batched else checked[0])
        return checked

    def _check_storable(self, words: Tensor) -> None:
        """Raises NonFiniteError where a word, not yet scaled, cannot be kept."""
        if self.config.metric != "cosine":  # of the cosine no number is above 1
            self._storage.check(words)

    def _exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        # What is rounded is stored in torch.
        compiled = self._has_compiled_step and not self._storage.rounds
        kernels = self._kernels() if compiled else None
        if kernels is None:
            self._check_storable(words)
            return super()._exchange(slots, words, queries, k)
        return stored_exchange.exchange(self, kernels, slots, words, queries, k)

    _check_exchange = stored_exchange.check_exchange

    def _compiled_step(
        self, kernels: ModuleType, slots: np.ndarray, vectors: Tensor, k: int
    ) -> Neighbors:
        """The rest of an exchange once the words are stored: tables and search, in compiled form.

        Args:
            kernels: `index.kernels.steps`.
            slots: int64 [B, M], each at most once per row, -1 skipped.
            vectors: words, then queries, checked and scaled, contiguous, [B, M + Q, W].
            k: at least 1; more than there are words is legal.
        """
        skip = slots.shape[1]
        if self._compiled_pays(vectors.shape[1] - skip, k):
            held, l2 = (self._words, self._penalty), self.config.metric == "l2"
            return kernels.best_of_all(*held, self._in_use, vectors, skip, k, l2)
        return self._padded_to(self._scan(slice(None), vectors[:, skip:], min(k, self._in_use)), k)

    def _padded_to(self, found: Neighbors, k: int) -> Neighbors:
        """What was found, with -1 in place of further neighbors up to the k-th."""
        if found.slots.shape[2] == k:
            return found
        missing = 0, k - found.slots.shape[2]
        return Neighbors(
            functional.pad(found.slots, missing, value=-1),
            functional.pad(found.scores, missing, value=-torch.inf),
        )

    def _compiled_pays(self, queries: int, k: int) -> bool:
        """Whether the compiled exact search is the faster one."""
        how = {"l2": self.config.metric == "l2", "rounds": self._storage.rounds}
        return compiled_pays(self._in_use, queries, k, **how)

    # Helpers, for backends too.

    def _exact(self, queries: Tensor, k: int) -> Neighbors:
        """The true k best of checked and scaled queries [B, Q, W]; k is at most `_in_use`."""
        return self._best(slice(None), queries, k)

    def best_of(self, memories: int | Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """Scores and slots of the true k best in some memories, by all their words.

        Args:
            memories: one, or int64 [m].
            queries: checked and scaled, of each of them, [m, Q, W].
            k: at most `_in_use`.

        Returns:
            -inf and -1 where there are fewer words; both [m, Q, k].
        """
        which = torch.as_tensor(memories, device=self.device).view(-1)
        if len(which) == 1:  # a view, not a copy
            which = slice(int(which), int(which) + 1)
        found = self._best(which, queries, k)
        return found.scores, found.slots

    def _best(self, which: slice | Tensor, queries: Tensor, k: int) -> Neighbors:
        """The true k best in some memories for queries [m, Q, W] of each."""
        kernels = self._kernels()
        if kernels is not None and self._compiled_pays(queries.shape[1], k):
            held, l2 = (self._words[which], self._penalty[which]), self.config.metric == "l2"
            return kernels.best_of_all(*held, self._in_use, queries.contiguous(), 0, k, l2)
        return self._scan(which, queries, k)

    def _scan(self, which: slice | Tensor, queries: Tensor, k: int) -> Neighbors:
        """`_best` in torch."""
        used = slice(1, 1 + rounded_up(self._in_use))
        words, penalty = self._words[which, used], self._penalty[which, used]
        storage = self._storage if self._storage.rounds else None
        scores, slots = scan(words, penalty, queries, k, self.config.metric, storage)
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)

    @property
    def _flat(self) -> Tensor:
        """What is kept by row, all memories one after another, [B (1 + room), W or width]."""
        return self._words.view(-1, self._storage.width)

    def _rows(self, slots: Tensor) -> Tensor:
        """The rows of slots [B, M] in `_flat`, [B M]."""
        return (slots + self._first_row).view(-1)

    def _rescored(self, queries: Tensor, slots: Tensor, k: int) -> Neighbors:
        """The k best of candidate slots by the true words.

        Args:
            queries: as `_search` gets them, [B, Q, W].
            slots: of each query, int64 [B, Q, C]; none twice, -1 and slots without a word skipped.
                C may be below k, and 0: what is missing in the answer is -1, with -inf.
            k: at least 1, at most `_in_use`.

        Cost: O(B Q C W).
        """
        self._candidates = float(slots.shape[2])
        if slots.shape[2] == 0:
            slots = functional.pad(slots, (0, 1), value=-1)
        batch_size, _, width = slots.shape
        rows = self._rows(slots.reshape(batch_size, -1))
        free = (slots.reshape(-1) < 0) | (self._penalty.view(-1)[rows] < 0)
        found = best_candidates(
            lambda some: (some, self._words_at(some)),
            rows.masked_fill(free, 0).view(-1, width),
            width,
            queries,
            k,
            repeats=1,
            metric=self.config.metric,
        )
        return self._neighbors(*found)

    def _neighbors(self, scores: Tensor, rows: Tensor) -> Neighbors:
        """Slots of the rows that were found; scores [B, Q, k] are -inf where nothing was."""
        slots = rows - self._first_row.unsqueeze(2)
        return Neighbors(slots.masked_fill_(scores == -torch.inf, -1), scores)

    def _words_at(self, rows: Tensor) -> Tensor:
        """The words in rows [...] of `_flat`, [..., W]."""
        return self._storage.decode(functional.embedding(rows, self._flat))

    def _put(self, rows: Tensor, words: Tensor) -> None:
        self._keep(rows, self._storage.encode(words) if self._storage.rounds else words)

    def _keep(self, rows: Tensor, kept: Tensor) -> None:
        """`_put` of what is kept of words, [..., width]."""
        self._flat.index_copy_(0, rows, kept.reshape(len(rows), self._flat.shape[1]))
        self._penalty.view(-1).index_fill_(0, rows, 0.0)

    def _allocate(self, room: int) -> None:
        """Makes free rows for `room` slots."""
        storage, rows, reserve = self._storage, 1 + room, Reserve()
        if self.batch_size == 1:
            how: Any = (storage.width,), storage.kept, self.device
            most = 1 + rounded_up(self.capacity)
            words = reserve.zeros(rows, most, *how).unsqueeze(0)
        else:
            words = zeros((self.batch_size, rows, storage.width), storage.kept, self.device)
        # Assigned last: if there is not enough memory the index stays as it was.
        self._hold(words, self._closed(room))
        self._reserve = reserve

    def _closed(self, room: int) -> Tensor:
        """Penalties of free rows for so many slots."""
        with ordinary_tensors():
            shape = self.batch_size, 1 + room
            return torch.full(shape, -torch.inf, dtype=self.dtype, device=self.device)

    def _hold(self, words: Tensor, penalty: Tensor) -> None:
        room = words.shape[1] - 1
        self._words, self._penalty, self._room = words, penalty, room
        self._first_row = _first_rows(self.batch_size, 1 + room, self.device)


@functools.lru_cache(64)
def _first_rows(batch_size: int, rows: int, device: torch.device) -> Tensor:
    """Row of slot 0 in tables of so many rows a memory, [B, 1]; shared, nobody writes to it."""
    with torch.inference_mode(False):  # or it could not be used outside of it
        return torch.arange(1, 1 + batch_size * rows, rows, device=device).unsqueeze(1)
