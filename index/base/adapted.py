"""Vector stores that people already run, in the place of a base: a protocol of two methods."""

from typing import Any, Protocol, get_args, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from index.base.exact_scan import best_rows
from index.base.interface import Base
from index.errors import ShapeError
from index.given import vectors_of
from index.metric import Metric, unit
from index.neighbors import Neighbors

_AT_ONCE = 2**21  # numbers that are compared at a time, where all words are


@runtime_checkable
class VectorStore(Protocol):
    """n words at slots 0 .. n-1 which somebody else keeps and searches.

    It is given NumPy arrays, and may answer with arrays, lists of lists, or tensors. Words must not
    change while a state lies over them.

    What the properties say may be plain attributes.
    """

    @property
    def num_words(self) -> int:
        """n."""
        ...

    @property
    def word_size(self) -> int:
        """W."""
        ...

    @property
    def metric(self) -> str:
        """One of `IndexConfig.metric`: "cosine", "dot" or "l2"."""
        ...

    @property
    def identity(self) -> str:
        """A text for these words and no others: states that are saved are told by it."""
        ...

    def search(self, keys: np.ndarray, k: int) -> tuple[Any, Any]:
        """The k words nearest to float32 keys [Q, W]: slots and scores [Q, k], nearest first.

        Keys have length 1 for the cosine. Slots are integers, -1 where fewer are found, and none
        is found twice; a higher score is nearer, so distances are given as negative numbers.
        """
        ...

    def fetch(self, slots: np.ndarray) -> Any:
        """The words at int64 slots [m], each in 0 .. n-1, some of them repeatedly, [m, W]."""
        ...


class AdaptedBase(Base):
    """A base whose words are those of a `VectorStore`.

    The store chooses candidates, by its own scores. Those that are given on are computed from the
    words that it has at these slots, as those of all words that they are merged with: stores round,
    and know no `norm_eps`. So each search fetches what it finds.

    Args:
        store: the adapter; `as_base` makes a base of it wherever one is expected.

    Raises:
        TypeError: it is no `VectorStore`.
        ShapeError: it has no word, or words of no numbers.
        ValueError: its metric is none of ours.
    """

    def __init__(self, store: Any) -> None:
        if not isinstance(store, VectorStore):
            raise TypeError(f"store: expected a VectorStore, got {type(store).__name__}")
        for name in ("num_words", "word_size"):
            if type(size := getattr(store, name)) is not int or size < 1:
                raise ShapeError(f"store.{name}: expected a whole number >= 1, got {size!r}")
        if store.metric not in get_args(Metric):
            expected = ", ".join(get_args(Metric))
            raise ValueError(f"store.metric: expected one of {expected}, got {store.metric!r}")
        if not isinstance(store.identity, str) or not store.identity:
            raise ValueError(f"store.identity: expected a text, got {store.identity!r}")
        self.store: Any = store

    @property
    def num_words(self) -> int:
        return self.store.num_words

    @property
    def word_size(self) -> int:
        return self.store.word_size

    @property
    def metric(self) -> Metric:
        return self.store.metric

    @property
    def index(self) -> str:
        """The name of the adapter's class."""
        return type(self.store).__name__

    @property
    def identity(self) -> str:
        return self.store.identity

    def __repr__(self) -> str:
        return f"AdaptedBase({self.store!r})"

    def nearest(
        self, queries: Tensor, k: int, root_eps: Tensor, *, exact: bool = False
    ) -> Neighbors:
        """As `Base.nearest`; `exact` fetches all words, some megabytes at a time.

        Raises:
            ShapeError: the store answers with other shapes, or slots that it does not have.
        """
        device, existing = queries.device, min(k, self.num_words)
        asked = queries.detach().cpu()
        if exact:
            scores, slots = best_rows(*self._scan(asked, existing, root_eps.cpu()), k)
            return Neighbors(slots.to(device), scores.to(device))
        slots = asked.new_full((0, existing), -1, dtype=torch.int64)
        if len(asked):
            found, near = self.store.search(asked.float().numpy(), existing)
            slots = self._checked_found(found, near, len(asked), existing)
        words = self.words_at(slots, dtype=asked.dtype)
        scores = self._scores(words, asked.unsqueeze(1), root_eps.cpu())
        scores, slots = best_rows(scores.masked_fill_(slots < 0, -torch.inf), slots, k)
        return Neighbors(slots.to(device), scores.to(device))

    def _scores(self, words: Tensor, queries: Tensor, root_eps: Tensor) -> Tensor:
        """Scores of words for queries of shapes that fit, without the last dimension."""
        if self.metric == "cosine":
            words = unit(words, root_eps)
        if self.metric == "l2":
            return (words - queries).square_().sum(-1).neg_()
        return (words * queries).sum(-1)

    def _scan(self, queries: Tensor, k: int, root_eps: Tensor) -> tuple[Tensor, Tensor]:
        """The k best of all words for queries [Q, W]: scores and slots, [Q, k]."""
        scores, slots = queries.new_empty(len(queries), 0), torch.empty(len(queries), 0).long()
        step = max(1, _AT_ONCE // (self.word_size * max(1, len(queries))))
        for start in range(0, self.num_words, step) if len(queries) else ():
            some = torch.arange(start, min(start + step, self.num_words))
            words = self._fetch(some, queries.dtype).unsqueeze(0)
            found = self._scores(words, queries.unsqueeze(1), root_eps)
            both = torch.cat((scores, found), 1), torch.cat((slots, some.expand_as(found)), 1)
            scores, slots = best_rows(*both, min(k, both[0].shape[1]))
        return scores, slots

    def _checked_found(self, slots: Any, scores: Any, count: int, k: int) -> Tensor:
        """What the store has found, int64 [Q, K]."""
        found = torch.as_tensor(slots).cpu()
        near = torch.as_tensor(scores).cpu()
        whole = not (found.is_floating_point() or found.is_complex() or found.dtype == torch.bool)
        fits = found.dim() == 2 and len(found) == count and found.shape[1] <= k
        if not whole or not fits or near.shape != found.shape:
            raise ShapeError(
                f"store.search: expected integers [{count}, {k}] and as many scores, got "
                f"{found.dtype} {[*found.shape]} and {[*near.shape]}"
            )
        if found.numel():
            low, high = (int(bound) for bound in found.aminmax())
            if low < -1 or high >= self.num_words:
                wrong = low if low < -1 else high
                raise ShapeError(
                    f"store.search: expected slots in -1 .. {self.num_words - 1}, got {wrong}"
                )
            both = (found[:, 1:] >= 0) & (found[:, :-1] >= 0)
            if bool((both & (near[:, 1:] > near[:, :-1])).any()):
                raise ShapeError(
                    "store.search: expected the highest score first, got a lower one; are these "
                    "distances?"
                )
            ordered = found.sort(1).values
            if bool(((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any()):
                raise ShapeError("store.search: expected each slot once, got one repeatedly")
        return found.long()

    def _fetch(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        if not len(slots):
            return torch.empty(0, self.word_size, dtype=dtype)
        given = vectors_of("store.fetch", self.store.fetch(slots.numpy()), torch.device("cpu"))
        words = given.to(dtype)
        if words.shape != (len(slots), self.word_size) or not bool(words.isfinite().all()):
            raise ShapeError(
                f"store.fetch: expected finite words [{len(slots)}, {self.word_size}], got "
                f"{[*words.shape]}"
            )
        return words.clone()

    def __reduce__(self) -> tuple[Any, ...]:
        return AdaptedBase, (self.store,)


def as_base(base: Any) -> Base:
    """A base, or a `VectorStore` as one.

    Raises:
        TypeError: it is neither.
        ShapeError, ValueError: as `AdaptedBase`.
    """
    if isinstance(base, Base):
        return base
    if isinstance(base, type) or not isinstance(base, VectorStore):
        raise TypeError(
            f"base: expected a BaseMemory, got {type(base).__name__}; or another base, or a "
            "VectorStore, which has `search`, `fetch` and what it says of itself"
        )
    return AdaptedBase(base)
