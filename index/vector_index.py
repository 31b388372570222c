"""The contract of an index: top-k lookup among slots whose words change.

An index serves B independent memories of up to `capacity` slots each, searched and updated
together. The public methods of `VectorIndex` check the arguments, drop repeated slots, scale for
the metric, grow and pad. The hooks of a backend do the rest.
"""

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor

from index import checks
from index.audit import ACTIVE
from index.checks import MOST_SLOTS
from index.config import IndexConfig
from index.contents import Contents
from index.errors import ShapeError
from index.given import Slots, Vectors, as_given, rows_of, slots_of, vectors_of
from index.metric import full_width, unit
from index.neighbors import IndexStats, Neighbors, empty_neighbors
from index.table_parts import bytes_of, copy_of
from index.tensor_files import write_parts


class VectorIndex(metaclass=ABCMeta):
    """Words at slots, replaced and looked up by similarity; no gradient passes through.

    Words and queries are tensors on the device of the index, or NumPy arrays; both may have any
    floating or integer dtype, and are converted to that of the index. Slots may be lists, too. A
    search with an array answers with arrays.

    Without `batch_size` the index has no batch dimension: slots are [M], words [M, W], queries
    [Q, W] or [W], answers [Q, k] or [k], and `occupancy` is a single number. The shapes below are
    those of an index with a batch dimension.

    A backend that keeps its words in a tensor derives from `index.StoredIndex`, which implements
    all hooks. Any other derives from this class and implements `_build`, `_grow`, `_update`,
    `_remove`, `_search`, `_reset` and `_occupancy`. Hooks get checked arguments with a batch
    dimension. Under the cosine metric words and queries come divided by n(v), so a backend knows
    inner products and l2 only. A backend may also

    - set `options_class` for options of its own, and `shared_options` for those of `IndexConfig`;
    - implement `_content` and `_restore`, so that it can be saved;
    - override `copied` and `nbytes`, if its state is more than tensors in its attributes;
    - override `searching` and `stats`, to say more about itself;
    - override `resize`, if something depends on `capacity`. Every index has that method.

    `register_index` gives it a name, and `index.testing` has a test of the whole contract.

    Args:
        config: which index; `make_index` also takes a name.
        batch_size: B, the number of memories; None for one memory without a batch dimension. With
            B = 0 an index can be made, copied and reset, but has nothing to be asked.
        capacity: slots per memory; costs nothing before slots are used.
        word_size: W.
        device: where the index lives; the CPU unless told.
        dtype: float32 or float64; words and queries of other dtypes are converted.

    Attributes:
        options: an instance of `options_class`, or None without one.
        batched: whether there is a batch dimension; if not, `batch_size` is 1.

    Raises:
        ValueError: B is below 0 or another size below 1, the dtype is neither float32 nor float64,
            or the config has an option that the backend has no use for.
    """

    shared_options: ClassVar[frozenset[str]] = frozenset()
    """The options of `IndexConfig` that the backend makes use of, those of `given`."""
    options_class: ClassVar[type | None] = None
    """A dataclass with the options that only this backend has; see `IndexConfig.options`."""
    instead_of: ClassVar[Mapping[str, str]] = {}
    """What an error says about an option of `IndexConfig` that the backend refuses."""
    _takes_repeats: ClassVar[bool] = False
    """Whether `_update` takes a slot several times a row as long as its word is the same."""

    def __init__(
        self,
        config: IndexConfig,
        *,
        batch_size: int | None = None,
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
            if name not in self.shared_options:
                hint = self.instead_of.get(name, "")
                raise ValueError(f"{name}: not an option of index {config.kind!r}{hint}")
        self.config = config
        self.options = config.own_options(self.options_class)
        self.batched = batch_size is not None
        count = 1 if batch_size is None else batch_size
        self.batch_size = checks.check_at_least("batch_size", count, least=0)
        self.capacity = checks.check_at_least("capacity", capacity, most=MOST_SLOTS)
        self.word_size = checks.check_at_least("word_size", word_size)
        self._like = torch.empty(0, device=device or "cpu", dtype=dtype)
        self._root_eps = self._like.new_full((), (config.norm_eps or 0.0) ** 0.5)
        self._in_use = 0  # every occupied slot is below it
        self._promised: int | None = None  # every slot to come is below it
        self._build()

    @abstractmethod
    def _occupancy(self) -> Tensor:
        """How many slots of each memory hold a word, int64 [B]."""
        raise self._missing("_occupancy")

    @abstractmethod
    def _build(self) -> None:
        """Makes the empty state. Called last in the constructor."""
        raise self._missing("_build")

    @abstractmethod
    def _grow(self, slots: int) -> None:
        """Makes room for slots below `slots`; a backend without storage by slot does nothing."""
        raise self._missing("_grow")

    @abstractmethod
    def _update(self, slots: Tensor, words: Tensor) -> None:
        """Puts words [B, M, W] at int64 slots [B, M], M >= 1: each once per row, -1 skipped."""
        raise self._missing("_update")

    @abstractmethod
    def _remove(self, slots: Tensor) -> None:
        """Forgets int64 slots [B, M] < `_in_use`: each at most once per row, -1 skipped."""
        raise self._missing("_remove")

    @abstractmethod
    def _search(self, queries: Tensor, k: int) -> Neighbors:
        """Answers [B, Q, W], Q >= 1; 1 <= k <= `_in_use`, which may exceed the occupied slots."""
        raise self._missing("_search")

    @abstractmethod
    def _reset(self, rows: Tensor | None) -> None:
        """Empties all memories, or those of the bool [B], and may lower `_in_use`."""
        raise self._missing("_reset")

    def _content(self) -> dict[str, Tensor]:
        """The words, as `_restore` takes them."""
        what = "the methods _content and _restore, without which it cannot be saved"
        raise NotImplementedError(f"index {self.config.kind!r}: expected {what}")

    def _file_content(self) -> dict[str, Tensor]:
        """What goes into a file of the index alone, as `_restore` takes it too."""
        return self._content()

    def _restore(self, given: Contents) -> None:
        """Takes what `_content` of an index with the same settings returned."""
        raise self._missing("_restore")

    def _missing(self, hook: str) -> NotImplementedError:
        name = f"{type(self).__name__}.{hook}"
        return NotImplementedError(f"{name}: expected an implementation, VectorIndex has none")

    @property
    def device(self) -> torch.device:
        """Where the index lives; what it is given must live there too."""
        return self._like.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of stored words and of scores."""
        return self._like.dtype

    @property
    def occupancy(self) -> Tensor:
        """How many slots of each memory hold a word, int64 [B]; [] without a batch dimension."""
        counts = self._occupancy()
        return counts if self.batched else counts[0]

    @property
    def searching(self) -> str:
        """What answers a search now: "exact", or the kind where that is approximate."""
        return self.config.kind

    @property
    def nbytes(self) -> int:
        """Bytes held, room for slots not yet used included."""
        return bytes_of(self)

    def stats(self) -> IndexStats:
        """Occupancy, candidates per query, bucket fill, bytes; see `IndexStats`."""
        return IndexStats(self.searching, self.occupancy, self._in_use, None, 0, 0, self.nbytes)

    def update(self, slots: Slots, words: Vectors) -> None:
        """Puts words at slots, in place of what was there; the next search sees them.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped. Where a slot repeats within a
                batch row, the last word counts.
            words: [B, M, W], finite, at skipped slots too.

        Raises:
            ShapeError: a shape, dtype or device is not as said.
            TypeError: an argument is neither a tensor nor an array.
            ValueError: a slot is out of range.
            NonFiniteError: a word is not finite.
            Whatever is raised, the index is as before.

        Cost: away from the CPU this waits for the device, unless `reserve` was called.
        """
        slots = self._checked_slots(slots)
        words = self._checked_words(words, slots.shape[1])
        look = self._promised is None or self.device.type == "cpu"
        limit = self.capacity if self._promised is None else self._promised
        highest = checks.check_slot_values(slots, limit, look=look)
        if slots.shape[1]:
            self._stored(highest + 1, checks.keep_last(slots), words)

    def load(self, words: Vectors) -> None:
        """Puts words at slots 0, 1, ... of each memory, in place of what was there.

        Args:
            words: [B, n, W], finite, n at most `capacity`; a view that repeats the same words for
                each memory is not copied first.

        Raises:
            ShapeError, TypeError, ValueError, NonFiniteError: as `update`.

        Cost: O(B n W), once; an approximate backend also builds its tables.
        """
        words = self._checked_words(words, None)
        count = words.shape[1]
        if count > self.capacity:
            raise ValueError(f"words: expected at most capacity={self.capacity}, got {count}")
        if count and self.batch_size:
            slots = torch.arange(count, device=self.device).expand(self.batch_size, -1)
            self._stored(count, slots, words)

    def _stored(self, below: int, slots: Tensor, words: Tensor) -> None:
        """Updates checked slots, all of them smaller than `below`."""
        if below > self._in_use:
            self._grow(below)
            self._in_use = below
        with full_width(self.device):
            self._update(slots, self._scaled(words))

    def remove(self, slots: Slots) -> None:
        """Forgets the words at slots; a slot that holds none is legal.

        Args:
            slots: integers in [0, capacity), [B, M]; -1 is skipped.

        Raises:
            ShapeError, TypeError, ValueError: as `update`.
        """
        slots = self._checked_slots(slots)
        checks.check_slot_values(slots, self.capacity, look=self.device.type == "cpu")
        if slots.shape[1] and self._in_use:
            some = checks.keep_last(slots.masked_fill(slots >= self._in_use, -1))
            with full_width(self.device):
                self._remove(some)

    def search(self, queries: Vectors, k: int) -> Neighbors:
        """Finds for each query the k words with the highest scores.

        Args:
            queries: [B, Q, W], finite.
            k: how many, at least 1; more than there are words is legal.

        Returns:
            Slots and scores [B, Q, k], as arrays if the queries are an array. Scores are exact for
            the slots returned.

        Raises:
            ShapeError, TypeError, NonFiniteError: as `update`.
            ValueError: k is below 1.
        """
        asked, k = self._checked_queries(queries, k)
        found = self._recorded(asked, k, self._padded(asked, k, self._search))
        return as_given(found, queries, self.batched)

    def exchange(self, slots: Slots, words: Vectors, queries: Vectors, k: int) -> Neighbors:
        """`update`, then `search`, for the inner loop of a caller that checks its own arguments.

        It takes their arguments and returns what `search` returns. For tensors with a batch
        dimension some checks are left out: of shapes, dtypes and devices; that a slot which repeats
        within a batch row has the same word each time; and, away from the CPU, that slots are below
        the bound `reserve`d, or in use.

        Raises:
            ShapeError, TypeError: an array is not as `update` and `search` say.
            ValueError: a slot is out of range.
            NonFiniteError: a word or query is not finite.
            With any of them the index is as before.
        """
        if (
            self.batched
            and isinstance(slots, Tensor)
            and isinstance(words, Tensor)
            and isinstance(queries, Tensor)
        ):
            return self._exchange(slots, words, queries, k)
        places = checks.keep_last(self._checked_slots(slots))
        vectors = self._checked_words(words, places.shape[1])
        asked, k = self._checked_queries(queries, k)
        found = self._exchange(places, vectors, asked, k)
        return as_given(found, queries, self.batched)

    def exchanges(self, writes: int, queries: int, k: int) -> Any:
        """For a caller that makes many exchanges of the same sizes.

        Args:
            writes, queries: of each memory.
            k: of the searches.

        Returns:
            An `index.list_exchange.ListExchanges`, which does what `exchange` does in less time; or
            None where that has to be called.
        """
        return None

    def exact_exchanges(self, writes: int) -> Any:
        """For a caller whose own loops can compare every word.

        Args:
            writes: of each memory and exchange, words without a slot included.

        Returns:
            An `index.exact_exchanges.ExactExchanges`, which tells of how many exchanges that is all
            there is to do; or None where they have to be made.
        """
        return None

    def _exchange(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Neighbors:
        """`exchange` of tensors with a batch dimension."""
        if torch.is_autocast_enabled(self.device.type):
            with full_width(self.device):
                return VectorIndex._exchange(self, slots, words, queries, k)
        bound = self._slot_bound()
        if torch.is_grad_enabled():
            words, queries = words.detach(), queries.detach()
        self._check_values(slots, bound, words, queries)
        self._in_use = bound
        if slots.shape[1]:
            slots = slots if self._takes_repeats else checks.keep_last(slots)
            self._update(slots, self._scaled(words))
        return self._recorded(queries, k, self._nearest(queries, k, self._search))

    def _check_values(self, slots: Tensor, bound: int, words: Tensor, queries: Tensor) -> None:
        """Raises if a slot is not in [-1, bound), or a vector is not finite.

        On the CPU one look at all of them comes first; only if something is wrong, `checks` finds
        out what. Away from the CPU slots are not checked, and the device checks vectors later.
        """
        if self.device.type == "cpu":
            if slots.numel():
                low, high = slots.aminmax()
                # A slot from `bound` on would lie in another memory, or not be found.
                if int(low) < -1 or int(high) >= bound:
                    checks.check_slot_values(slots, bound, look=True)
            if math.isfinite((words.sum() + queries.sum()).item()):
                return
        checks.check_finite_together(words, queries)

    def reset(self, rows: Tensor | np.ndarray | list[bool] | None = None) -> None:
        """Forgets all words of some memories; without `rows` of all, and lifts `reserve`'s promise.

        Args:
            rows: bool [B], true for the memories to empty; not for an index without a batch
                dimension.

        Raises:
            ShapeError: `rows` is not bool [B] on the device of the index.
            TypeError: `rows` is neither tensor, array nor list.

        Cost: O(slots in use), whatever the capacity.
        """
        if rows is None:
            self._reset(None)
            self._in_use, self._promised = 0, None
            return
        if not self.batched:
            raise ShapeError("rows: expected None, as there is no batch dimension, got some")
        rows = rows_of(rows, self.device)
        checks.check_rows(rows, self.batch_size, self.device)
        if self._in_use and (self.device.type != "cpu" or bool(rows.any())):
            self._reset(rows)

    def reserve(self, slots: int) -> None:
        """Promises that all slots to come are below `slots`, until the next call of `reserve`.

        Makes room for that many slots; a higher slot is an error. Away from the CPU an update then
        need not wait for the device to learn how high its slots are, and a search looks at all
        promised slots, so promise no more than will be used.

        Raises:
            ValueError: `slots` is below 1 or above `capacity`.
        """
        doubtful = type(slots) is not int or not 0 < slots <= self.capacity
        if doubtful and checks.check_at_least("slots", slots, most=MOST_SLOTS) > self.capacity:
            raise ValueError(f"slots: expected at most capacity={self.capacity}, got {slots}")
        self._grow(slots)
        self._promised = slots

    def resize(self, capacity: int) -> None:
        """Changes how many slots each memory may have; the words stay.

        Raises:
            ValueError: `capacity` is below 1, or not above every slot in use or reserved.

        Cost: O(1); space for slots is taken when they are used.
        """
        least = self._slot_bound()
        if checks.check_at_least("capacity", capacity, most=MOST_SLOTS) < least:
            raise ValueError(f"capacity: expected at least the {least} in use, got {capacity}")
        self.capacity = capacity

    def clone(self) -> Self:
        """An independent index with the same content. Cost: O(bytes of the index)."""
        return self.copied(self.device)

    def to(self, device: torch.device | str) -> Self:
        """The index itself if it lives on `device`, otherwise a copy there."""
        target = torch.empty(0, device=device).device
        return self if target == self.device else self.copied(target)

    def copied(self, device: torch.device) -> Self:
        """An independent copy on `device`."""
        return copy_of(self, device)

    def save(self, path: str | Path) -> None:
        """Writes settings, words and tables to a file for `load_index`; whole or not at all.

        A loaded index answers as this one does, to the last bit, if its backend saves its tables
        or is exact. What else was learned from the words is learned again, so that an approximate
        index may choose other slots once loaded.

        Args:
            path: the file to write or replace; a safetensors file.

        Raises:
            BackendMissingError: safetensors is not installed.
            NotImplementedError: a backend of your own does not say what to save.
            OSError: the file cannot be written.

        Cost: the bytes of the file, and while it is written three times as many in memory.
        """
        version = 2 if self.config.storage is None else 3
        write_parts(path, "index", settings_of(self) | self._file_content(), version=version)

    def content(self) -> dict[str, Any]:
        """What a state that this index is part of, or a pickle, holds: settings and words."""
        return settings_of(self) | self._content()

    def restored(self, given: Contents) -> Self:
        """This index, empty so far, with the words of a file.

        Raises:
            FileFormatError: the file is of an index with other settings or sizes.
        """
        for name, value in settings_of(self).items():
            given.same(name, value)
        self._restore(given)
        return self

    def _slot_bound(self) -> int:
        """Every slot in use or promised is smaller."""
        return max(self._in_use, self._promised or 0)

    def _scaled(self, vectors: Tensor) -> Tensor:
        """Divides by n(v) where the metric is the cosine; see `IndexConfig`."""
        return unit(vectors, self._root_eps) if self.config.metric == "cosine" else vectors

    @property
    def _rows_given(self) -> int | None:
        """B, where arguments have a batch dimension."""
        return self.batch_size if self.batched else None

    def _checked_slots(self, slots: Slots) -> Tensor:
        """int64 [B, M], not looked at."""
        device = self.device
        return checks.check_slot_tensor(slots_of(slots, device), self._rows_given, device)

    def _checked_words(self, words: Vectors, count: int | None) -> Tensor:
        """[B, M, W] in the dtype of the index."""
        shape = (self._rows_given, count, self.word_size)
        return checks.check_vectors(
            "words", vectors_of("words", words, self.device), shape, self._like
        )

    def _checked_queries(self, queries: Vectors, k: int) -> tuple[Tensor, int]:
        """[B, Q, W] in the dtype of the index, and k."""
        k = checks.check_at_least("k", k)
        shape = (self._rows_given, None, self.word_size)
        queries = vectors_of("queries", queries, self.device)
        return checks.check_vectors("queries", queries, shape, self._like), k

    def _padded(
        self, queries: Tensor, k: int, search: Callable[[Tensor, int], Neighbors]
    ) -> Neighbors:
        """What `search` finds for checked queries, as far as words exist, then -1."""
        with full_width(self.device):
            return self._nearest(queries, k, search)

    def _nearest(
        self, queries: Tensor, k: int, search: Callable[[Tensor, int], Neighbors]
    ) -> Neighbors:
        """`_padded`, outside of autocast."""
        existing = min(k, self._in_use)
        if existing == 0 or queries.shape[1] == 0:
            return empty_neighbors(queries, k)
        near = search(self._scaled(queries), existing)
        if existing == k:
            return near
        pairs = zip(near, empty_neighbors(queries, k - existing), strict=True)
        return Neighbors(*(torch.cat(pair, -1) for pair in pairs))

    def _recorded(self, queries: Tensor, k: int, found: Neighbors) -> Neighbors:
        """Returns what was found for checked queries, after the active audit has recorded it."""
        audit = ACTIVE.get()
        if audit is not None:
            audit.record(self, queries, k, found)
        return found


def settings_of(index: VectorIndex) -> dict[str, Any]:
    """The settings of an index, as a file holds them."""
    settings = {
        # Compiled or not is a matter of the machine.
        "config": replace(index.config, compiled=None).settings(),
        "batch_size": index.batch_size,
        "capacity": index.capacity,
        "word_size": index.word_size,
        "dtype": str(index.dtype).removeprefix("torch."),
    }
    # Said only where it is so: older files do not have it.
    return settings if index.batched else settings | {"batched": False}
