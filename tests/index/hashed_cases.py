"""Indexes that look into lists however few words there are, and words in clusters for them."""

from typing import Any

from torch import Tensor

from index import HashedIndex, IndexConfig, make_index, recall_at_k
from index.bench.comparison import search_all
from index.bench.traffic import Setting, Traffic

KINDS = ("ivf", "lsh", "product")
SIZE = 2**12
# Recall by the default target of 0.9, on some hundred queries: once the index has looked at itself,
# and just after words have changed.
LEAST, LEAST_AT_ONCE = 0.86, 0.8


def hashed(
    kind: str, capacity: int = SIZE, *, batch: int = 2, width: int = 16, **options: Any
) -> HashedIndex:
    """An empty index, which looks into lists unless a memory has few words."""
    options = {"exact_below": 0} | options
    config = IndexConfig(kind=kind, **options)
    index = make_index(config, batch_size=batch, capacity=capacity, word_size=width)
    assert isinstance(index, HashedIndex)
    return index


def traffic(*, batch: int = 2, width: int = 16, size: int = SIZE, seed: int = 0) -> Traffic:
    """Words in size / 64 clusters with noise of norm 0.5, and queries near words."""
    setting = Setting(memory_size=size, word_size=width, batch_size=batch, seed=seed)
    return Traffic(setting)


def recall(index: HashedIndex, queries: Tensor, k: int = 8) -> float:
    """Mean recall at k, against an exact search of the words that the index holds."""
    found = search_all(index, queries, k)
    return float(recall_at_k(found, index.search_exact(queries, k)).mean())


def settle(index: HashedIndex, source: Traffic, calls: int = 4, k: int = 8) -> None:
    """Searches until the index has looked at its recall a number of times."""
    for _ in range(calls):
        search_all(index, source.queries(512), k)


def rebuilds(index: HashedIndex) -> int:
    return index.stats().rebuilds
