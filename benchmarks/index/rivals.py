"""What is judged: one memory behind an index of this package, or behind another library.

The others have no recall to ask for: they have an effort, which a search takes and an update does
not depend on, so that one run shows recall and time for each effort.
"""

from collections.abc import Sequence
from dataclasses import fields
from functools import cache, partial
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.index.libraries import Hnswlib, RawLists, Usearch
from index import IndexConfig, make_index
from index.bench.comparison import EXACT
from index.metric import Metric

# FAISS with 4 sqrt(n) lists, as its authors advise, and with sqrt(n).
_LIBRARIES = {
    "raw faiss": RawLists,
    "raw faiss sqrt": partial(RawLists, lists=1),
    "hnswlib": Hnswlib,
    "usearch": Usearch,
}
RIVALS = (*_LIBRARIES,)
_WARM, _WARM_SIZE = 8192, 32  # words and their size, enough for lists of codes
# Whether an index of this version can be asked for a recall.
HAS_RECALL = "recall" in {one.name for one in fields(IndexConfig)}


class Judged(Protocol):
    """What is measured: slots and words of one memory.

    Attributes:
        efforts: what a search can be set to, ascending; none where the index sets itself.
    """

    efforts: tuple[int, ...]

    def put(self, slots: Tensor, words: Tensor) -> None:
        """Words [n, W] at different slots [n], in place of what was there."""
        ...

    def remove(self, slots: Tensor) -> None:
        """Forgets the words at slots [n], which hold one."""
        ...

    def find(self, queries: Tensor, k: int) -> Tensor:
        """Slots of the k best for queries [Q, W], int64 [Q, k], -1 where there are fewer."""
        ...

    def set_effort(self, effort: int) -> None:
        """From now on a search takes so much effort."""
        ...

    def nbytes(self) -> int:
        """Bytes held, the words included."""
        ...


class Ours:
    """An index of this package with one memory; `exchange` where it takes the slots.

    Attributes:
        index: the index.
    """

    efforts: tuple[int, ...] = ()

    def __init__(self, config: IndexConfig, *, capacity: int, word_size: int) -> None:
        self.index = make_index(config, batch_size=1, capacity=capacity, word_size=word_size)
        self._below = 0  # every slot in use is

    def put(self, slots: Tensor, words: Tensor) -> None:
        self._below = max(self._below, 1 + int(slots.max()))
        self.index.update(slots.unsqueeze(0), words.unsqueeze(0))

    def remove(self, slots: Tensor) -> None:
        self.index.remove(slots.unsqueeze(0))

    def find(self, queries: Tensor, k: int) -> Tensor:
        return self.index.search(queries.unsqueeze(0), k).slots[0]

    def put_and_find(self, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> Tensor:
        """`put`, then `find`, as the step of a model calls them."""
        if int(slots.max()) >= self._below:
            self.put(slots, words)
            return self.find(queries, k)
        new, asked = words.unsqueeze(0), queries.unsqueeze(0)
        return self.index.exchange(slots.unsqueeze(0), new, asked, k).slots[0]

    def set_effort(self, effort: int) -> None:
        raise NotImplementedError("effort: an index of this package sets its own")

    def nbytes(self) -> int:
        return self.index.stats().nbytes


def make_judged(
    name: str, metric: Metric, recall: float | None, *, capacity: int, word_size: int
) -> Judged:
    """The index or library of that name; see `RIVALS`.

    Args:
        name: a rival, or the kind of an index.
        metric: as `IndexConfig.metric`.
        recall: what an index is told to reach; None for its default.
        capacity: slots.
        word_size: W.

    Raises:
        BackendMissingError: a library is not installed.
        TypeError: a recall is given, and this version of `IndexConfig` has none.
    """
    if name in _LIBRARIES:
        return _LIBRARIES[name](metric, capacity=capacity, word_size=word_size)
    given: dict[str, Any] = {} if recall is None else {"recall": recall}
    config = IndexConfig(kind=name, metric=metric, **given)
    return Ours(config, capacity=capacity, word_size=word_size)


@cache
def warm_up(kind: str, metric: Metric) -> None:
    """Uses an index of this kind once, so that what is compiled on first use is not timed."""
    if kind in RIVALS:
        return
    words = torch.randn(_WARM, _WARM_SIZE, generator=torch.Generator().manual_seed(0))
    _use(Ours(IndexConfig(kind=kind, metric=metric), **_sizes_of(words)), words)
    if kind != EXACT:  # with tables from the first word on, whether they pay or not
        config = IndexConfig(kind=kind, metric=metric, exact_below=0)
        _use(Ours(config, **_sizes_of(words)), words)


def _sizes_of(words: Tensor) -> dict[str, int]:
    return {"capacity": words.shape[0], "word_size": words.shape[1]}


def _use(judged: Ours, words: Tensor) -> None:
    for slots in torch.arange(_WARM).split(_WARM // 2):
        judged.put(slots, words[slots])
        judged.find(words[:32], 10)
    for slots in torch.arange(_WARM).split(64):  # lists become long and short
        judged.put(slots, words[:64] / 64 + 1)
    for slots in torch.arange(108).split(36):
        judged.put_and_find(slots, -words[slots], words[:32], 10)
        judged.remove(slots)
        judged.find(words[:32], 10)


def state(judged: Judged) -> dict[str, Any]:
    """What an index says of itself: the fields of `IndexStats`, as JSON has them."""
    if not isinstance(judged, Ours):
        return {}
    stats = judged.index.stats()._asdict()
    for name, value in stats.items():
        if isinstance(value, torch.Tensor):
            stats[name] = value.tolist()
        elif hasattr(value, "_asdict"):
            stats[name] = value._asdict()
    return stats


def targets_of(kind: str, given: Sequence[float] | None) -> list[float | None]:
    """The recalls to ask an index for: those given, or None where it has but its default."""
    asked = kind in RIVALS or (HAS_RECALL and kind != EXACT)
    return [*given] if given and asked else [None]
