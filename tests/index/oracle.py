"""The cases that tests of all indexes run over; the oracle itself is in `index.testing`."""

import importlib.util
from collections.abc import Iterable
from typing import Any

import pytest
from torch import Tensor

from index import IndexConfig, VectorIndex, available_indexes, testing
from index.metric import Metric
from index.testing import DictIndex as DictIndex
from index.testing import score as score

try:
    import faiss
except ImportError:
    faiss = None
NEEDS_FAISS = pytest.mark.skipif(faiss is None, reason="faiss is not installed")


def cases(names: Iterable[str]) -> list[Any]:
    """Names of indexes to parametrise a test with; those of FAISS are skipped where it is not."""
    return [pytest.param(n, marks=NEEDS_FAISS) if n.startswith("faiss") else n for n in names]


# Backends that compare every word while few are in use are tested without doing so as well.
ALWAYS = tuple(f"{kind}, always" for kind in ("auto", "faiss", "ivf", "lsh", "product"))
CASES = cases((*available_indexes(), *ALWAYS))
# Whether by compiled forms: what there is here.
FORMS = [False, True] if importlib.util.find_spec("numba") else [False]


def config_of(case: str, metric: Metric = "cosine") -> IndexConfig:
    """The configuration of one of the `CASES`."""
    kind, _, always = case.partition(", ")
    return IndexConfig(kind=kind, metric=metric, exact_below=0 if always else None)


def pair(kind: str, **options: Any) -> tuple[VectorIndex, DictIndex]:
    """An empty index of one of the `CASES`, and its oracle."""
    return testing.pair(config_of(kind), **options)


def filled(kind: str, count: int = 12, **options: Any) -> tuple[VectorIndex, DictIndex, Tensor]:
    """An index with words at slots 0 .. count-1 of each memory, its oracle, and queries."""
    return testing.filled(config_of(kind), count, **options)
