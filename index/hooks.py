"""The hooks of an index: what a backend implements, and the public methods call."""

from abc import ABCMeta, abstractmethod
from typing import ClassVar

from torch import Tensor

from index.config import IndexConfig
from index.contents import Contents
from index.neighbors import Neighbors


class IndexHooks(metaclass=ABCMeta):
    """What `VectorIndex` asks of a backend.

    No hook is called with a wrong argument. All of them have a batch dimension: an index without
    one is a batch of one memory inside.
    """

    shared_options: ClassVar[frozenset[str]] = frozenset()
    """The options of `IndexConfig` that the backend makes use of, those of `given`."""
    options_class: ClassVar[type | None] = None
    """A dataclass with the options that only this backend has; see `IndexConfig.options`."""
    _takes_repeats: ClassVar[bool] = False
    """Whether `_update` takes a slot several times a row as long as its word is the same."""

    config: IndexConfig

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
