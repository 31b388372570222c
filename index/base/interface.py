"""What a layered index and a state ask of a base, wherever its words lie."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from index.checks import check_at_least, check_vectors
from index.config import IndexConfig
from index.errors import ShapeError
from index.given import Vectors, as_given, as_int64, vectors_of
from index.metric import Metric, full_width, unit
from index.neighbors import Neighbors


def no_commit(
    base: Any, changes: Any, path: str | Path | None = None, *, rows: Any = None, **options: Any
) -> Any:
    """Writes no base: a `BaseMemory` does, with changes merged in.

    Raises:
        NotImplementedError: this is another base.
    """
    raise NotImplementedError(
        f"commit: expected a BaseMemory, got a {type(base).__name__}; shards are committed in one "
        "piece (reshard), a store by its own means"
    )


class Base(ABC):
    """n words at slots 0 .. n-1 that many memories share, and that do not change.

    `BaseMemory` has them in a folder, `ShardedBase` in the folders of several processes, and
    `AdaptedBase` in a vector store. A copy is the same object. No gradient passes through any
    method.

    Attributes:
        in_step: whether several processes hold it together, and all must call it in step.
    """

    in_step: ClassVar[bool] = False

    # What a subclass says of itself.

    @property
    @abstractmethod
    def num_words(self) -> int:
        """n; words are at slots 0 .. n-1."""

    @property
    @abstractmethod
    def word_size(self) -> int:
        """W."""

    @property
    @abstractmethod
    def metric(self) -> Metric:
        """How a word scores for a query; see `IndexConfig`."""

    @property
    @abstractmethod
    def index(self) -> str:
        """What answers a search."""

    @property
    @abstractmethod
    def identity(self) -> str:
        """A text that no other base has: a state that lies over this one is told by it."""

    @abstractmethod
    def nearest(
        self, queries: Tensor, k: int, root_eps: Tensor, *, exact: bool = False
    ) -> Neighbors:
        """`search` for queries [Q, W] that are checked, and divided by their norms for the cosine.

        Args:
            root_eps: sqrt(norm_eps), a scalar of the dtype of the queries.
        """

    @abstractmethod
    def _fetch(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """A copy of the words at int64 slots [m] of the CPU, each in 0 .. n-1, [m, W]."""

    def whole_search(self, k: int) -> Any:
        """An `index.base.coded_search.CodedSearch` for so many neighbors, if it has one now."""
        return None

    # What all do alike.

    def __len__(self) -> int:
        return self.num_words

    def words_at(self, slots: Tensor, *, dtype: torch.dtype = torch.float32) -> Tensor:
        """A copy of the words at slots.

        Args:
            slots: integers of any shape; -1 reads zeros.
            dtype: float32 or float64.

        Returns:
            [..., W], on the device of `slots`.

        Raises:
            ShapeError: slots that are no integers.
            ValueError: a slot is not in -1 .. n-1; or another dtype.
        """
        if dtype not in (torch.float32, torch.float64):
            raise ValueError(f"dtype: expected torch.float32 or torch.float64, got {dtype}")
        asked, low = self._checked_slots(slots)
        flat = asked.reshape(-1)
        with torch.no_grad():
            words = self._fetch(flat.clamp_min(0), dtype)
            if low < 0:
                words.masked_fill_((flat < 0).unsqueeze(1), 0)
        return words.view(*slots.shape, self.word_size).to(slots.device)

    def put_words(self, slots: Tensor, into: Tensor, rows: Tensor) -> None:
        """Copies the words at slots, int64 [m] in 0 .. n-1, to rows [m] of a table [R, W]."""
        into.index_copy_(0, rows, self.words_at(slots, dtype=into.dtype))

    def _checked_slots(self, slots: Tensor) -> tuple[Tensor, int]:
        """Slots as int64 on the CPU, and the lowest, 0 if there are none."""
        if not isinstance(slots, Tensor) or slots.is_floating_point() or slots.is_complex():
            what = f"{slots.dtype}" if isinstance(slots, Tensor) else type(slots).__name__
            raise ShapeError(f"slots: expected a tensor of integers, got {what}")
        if slots.dtype == torch.bool:
            raise ShapeError("slots: expected a tensor of integers, got torch.bool")
        asked = as_int64(slots.detach().cpu())
        if not asked.numel():
            return asked, 0
        low, high = (int(bound) for bound in asked.aminmax())
        if low < -1 or high >= self.num_words:
            wrong = low if low < -1 else high
            raise ValueError(
                f"slots: expected -1 (zeros) or 0 .. {self.num_words - 1}, got {wrong}"
            )
        return asked, low

    def search(
        self, queries: Vectors, k: int, *, norm_eps: float = 0.0, exact: bool = False
    ) -> Neighbors:
        """Finds for each query the k words with the highest scores.

        Args:
            queries: [Q, W] or [W]; scores are computed in float64 for float64, else in float32.
            k: at least 1; more than n is legal.
            norm_eps: as `IndexConfig.norm_eps`.
            exact: compare every word, whatever the index is.

        Returns:
            Slots and scores [Q, k] or [k], best first, -1 and -inf where there are fewer.

        Raises:
            ShapeError, TypeError, NonFiniteError, ValueError: as `VectorIndex.search`.
        """
        k = check_at_least("k", k)
        IndexConfig(norm_eps=norm_eps)  # raises its error
        asked = vectors_of("queries", queries, torch.device("cpu"))
        dtype = torch.float64 if asked.dtype == torch.float64 else torch.float32
        like = torch.empty(0, dtype=dtype, device=asked.device)
        asked = check_vectors("queries", asked, (None, None, self.word_size), like)[0]
        root_eps = like.new_full((), norm_eps**0.5)
        with full_width(asked.device):
            scaled = unit(asked, root_eps) if self.metric == "cosine" else asked
            found = self.nearest(scaled, k, root_eps, exact=exact)
        return as_given(Neighbors(*(part.unsqueeze(0) for part in found)), queries, False)

    commit = no_commit

    # Of a base that several processes search together, all of them in the same calls.

    def skip(self) -> None:
        """Takes part in a call of the others, to which this process has no question of its own."""
        self.wanted(False)

    def wanted(self, more: bool) -> bool:
        """Whether this process, or one that searches together with it, wants to go on."""
        return more

    # A base does not change: a copy is the same object.

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self
