"""What a backend of an index has and must do; what users call is in `index.vector_index`."""

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, replace
from typing import Any, Self

import torch
from torch import Tensor

from index import checks
from index.config import IndexConfig
from index.contents import Contents
from index.metric import COSINE_EPS, unit
from index.neighbors import Neighbors
from index.stats import IndexStats
from index.table_parts import Parts


class Backend(Parts, ABC):
    """The state that all indexes share, and the methods that make the difference.

    A backend implements `_build`, `_grow`, `_update`, `_remove`, `_search`, `_reset` and
    `occupancy`. Under the cosine metric these see words and queries divided by n(v), so that a
    backend knows inner products and l2 only. A backend whose state is not in attributes that are
    tensors or `Parts` overrides `copied` and `nbytes`; one that is to be saved has `_content` and
    `_restore`.
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
        self.capacity = checks.check_size("capacity", capacity, checks.MOST_SLOTS)
        self.word_size = checks.check_size("word_size", word_size)
        self._like = torch.empty(0, device=device or "cpu", dtype=dtype)
        self._root_eps = self._like.new_full((), COSINE_EPS**0.5)
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

    def content(self) -> dict[str, Any]:
        """What a file of this index holds: its settings, and its words."""
        return {
            # Compiled or not is the business of the machine.
            "config": asdict(replace(self.config, compiled=None)),
            "batch_size": self.batch_size,
            "capacity": self.capacity,
            "word_size": self.word_size,
            "dtype": str(self.dtype).removeprefix("torch."),
        } | self._content()

    def restored(self, given: Contents) -> Self:
        """This index, empty so far, with the words of a file.

        Raises:
            FileFormatError: the file is of an index with other settings or sizes.
        """
        for name, value in self.content().items():
            if not isinstance(value, Tensor):
                given.same(name, value)
        self._restore(given)
        return self

    @property
    @abstractmethod
    def occupancy(self) -> Tensor:
        """How many slots of each memory hold a word, int64 [B]."""

    @abstractmethod
    def _build(self) -> None:
        """Makes the empty state, at the end of construction."""

    @abstractmethod
    def _update(self, slots: Tensor, words: Tensor) -> None:
        """Puts words [B, M, W] at int64 slots [B, M], M >= 1: each once per row, -1 skipped."""

    @abstractmethod
    def _remove(self, slots: Tensor) -> None:
        """Forgets int64 slots [B, M] < `_in_use`: each at most once per row, -1 skipped."""

    @abstractmethod
    def _search(self, queries: Tensor, k: int) -> Neighbors:
        """Answers [B, Q, W], Q >= 1; 1 <= k <= `_in_use`, which may exceed the occupied slots."""

    @abstractmethod
    def _reset(self, rows: Tensor | None) -> None:
        """Empties all memories, or those of the bool [B], and may lower `_in_use`."""

    @abstractmethod
    def _grow(self, slots: int) -> None:
        """Makes room for slots below `slots`; a backend without storage by slot does nothing."""

    def _content(self) -> dict[str, Tensor]:
        """The words, as `_restore` takes them."""
        raise NotImplementedError(
            f"index {self.config.kind!r}: expected the methods _content and _restore, without "
            "which it cannot be saved; a StoredIndex has them"
        )

    def _restore(self, given: Contents) -> None:
        """Takes what `_content` of an index with the same settings gave."""
        raise NotImplementedError

    def _full_width(self) -> AbstractContextManager[Any]:
        """Keeps autocast from computing in half precision."""
        if torch.is_autocast_enabled(self.device.type):
            return torch.autocast(self.device.type, enabled=False)
        return nullcontext()

    def _scaled(self, vectors: Tensor) -> Tensor:
        """Divides by n(v) where the metric is the cosine."""
        return unit(vectors, self._root_eps) if self.config.metric == "cosine" else vectors
