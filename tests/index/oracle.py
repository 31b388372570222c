"""A dictionary per memory: what an index must do, in NumPy and without any cleverness."""

import importlib.util
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
import torch

from index import IndexConfig, Neighbors, VectorIndex, available_indexes, make_index
from index.config import Metric

try:
    import faiss
except ImportError:
    faiss = None
NEEDS_FAISS = pytest.mark.skipif(faiss is None, reason="faiss is not installed")


def cases(names: Iterable[str]) -> list[Any]:
    """Names of indexes to parametrise a test with; those of FAISS are skipped where it is not."""
    return [pytest.param(n, marks=NEEDS_FAISS) if n.startswith("faiss") else n for n in names]


# Backends that compare every word while few are in use are tested without doing so as well.
ALWAYS = tuple(f"{kind}, always" for kind in ("auto", "faiss", "ivf", "product"))
CASES = cases((*available_indexes(), *ALWAYS))
# Whether by compiled twins: what there is here.
FORMS = [False, True] if importlib.util.find_spec("numba") else [False]


def config_of(case: str, metric: Metric = "cosine") -> IndexConfig:
    """The configuration of one of the `CASES`."""
    kind, _, always = case.partition(", ")
    return IndexConfig(kind=kind, metric=metric, exact_below=0 if always else None)


def score(query: np.ndarray, word: np.ndarray, metric: Metric) -> float:
    """One score in float64, from the definition of the metric."""
    query, word = query.astype(np.float64), word.astype(np.float64)
    if metric == "l2":
        return -float(((query - word) ** 2).sum())
    if metric == "dot":
        return float((query * word).sum())
    lengths = np.sqrt((query * query).sum() + 1e-6) * np.sqrt((word * word).sum() + 1e-6)
    return float((query * word).sum() / lengths)


class DictIndex:
    """B dictionaries from slot to word."""

    def __init__(self, batch_size: int, metric: Metric = "cosine") -> None:
        self.words: list[dict[int, np.ndarray]] = [{} for _ in range(batch_size)]
        self.metric: Metric = metric

    def update(self, slots: torch.Tensor, words: torch.Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot, word in zip(slots[b].tolist(), words[b].double().numpy(), strict=True):
                if slot >= 0:
                    memory[slot] = word.copy()

    def remove(self, slots: torch.Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot in slots[b].tolist():
                memory.pop(slot, None)

    def reset(self, rows: torch.Tensor | None = None) -> None:
        for b, memory in enumerate(self.words):
            if rows is None or rows[b]:
                memory.clear()

    def assert_agrees(
        self, index: VectorIndex, queries: torch.Tensor, k: int, *, rtol: float = 1e-4
    ) -> None:
        """Searches the index and checks everything the contract says about the answer."""
        found = index.search(queries, k)
        batch, count = queries.shape[:2]
        assert found.slots.shape == found.scores.shape == (batch, count, k)
        assert found.slots.dtype == torch.int64
        assert found.scores.dtype == index.dtype
        assert index.occupancy.tolist() == [len(memory) for memory in self.words]
        for b, memory in enumerate(self.words):
            for q in range(count):
                query = queries[b, q].double().numpy()
                true = {slot: score(query, word, self.metric) for slot, word in memory.items()}
                slots, scores = found.slots[b, q].tolist(), found.scores[b, q].double().numpy()
                n = sum(slot >= 0 for slot in slots)
                assert slots[n:] == [-1] * (k - n), "free places come last"
                assert np.all(scores[n:] == -np.inf)
                assert len(set(slots[:n])) == n, "a slot was returned twice"
                assert set(slots[:n]) <= set(memory), "a slot without a word was returned"
                scale = max((abs(value) for value in true.values()), default=1.0)
                close = {"rtol": rtol, "atol": rtol * max(1.0, scale)}
                np.testing.assert_allclose(scores[:n], [true[s] for s in slots[:n]], **close)
                assert np.all(np.diff(scores[:n]) <= 0), "best first"
                if index.searching == "exact":
                    assert n == min(k, len(memory))
                    best = sorted(true.values(), reverse=True)[:n]
                    np.testing.assert_allclose(scores[:n], best, **close)


def pair(
    kind: str,
    *,
    batch_size: int = 2,
    capacity: int = 64,
    word_size: int = 5,
    metric: Metric = "cosine",
    dtype: torch.dtype = torch.float32,
) -> tuple[VectorIndex, DictIndex]:
    """An empty index and its oracle."""
    index = make_index(
        config_of(kind, metric),
        batch_size=batch_size,
        capacity=capacity,
        word_size=word_size,
        dtype=dtype,
    )
    return index, DictIndex(batch_size, metric)


def filled(kind: str, count: int = 12, **options) -> tuple[VectorIndex, DictIndex, torch.Tensor]:
    """An index with words at slots 0 .. count-1 of each memory, its oracle, and queries."""
    index, oracle = pair(kind, **options)
    slots = torch.stack([torch.randperm(count) for _ in range(index.batch_size)])
    words = torch.randn(index.batch_size, count, index.word_size, dtype=index.dtype)
    for store in (index, oracle):
        store.update(slots, words)
    queries = torch.randn(index.batch_size, 3, index.word_size, dtype=index.dtype)
    return index, oracle, queries


def content(index: VectorIndex, probes: torch.Tensor, k: int) -> Neighbors:
    """A copy of what the index answers, to compare before and after."""
    near = index.search(probes, k)
    return Neighbors(near.slots.clone(), near.scores.clone())
