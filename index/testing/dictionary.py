"""The oracle of an index: dictionaries, and the metrics by their definitions."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.metric import Metric
from index.testing.kept import kept_words
from index.vector_index import VectorIndex


def score(query: np.ndarray, word: np.ndarray, metric: Metric, norm_eps: float = 0.0) -> float:
    """One score in float64, from the definition of the metric; see `IndexConfig`."""
    query, word = query.astype(np.float64), word.astype(np.float64)
    if metric == "l2":
        return -float(((query - word) ** 2).sum())
    if metric == "dot":
        return float((query * word).sum())
    return float((_unit(query, norm_eps) * _unit(word, norm_eps)).sum())


def _unit(vector: np.ndarray, norm_eps: float) -> np.ndarray:
    """v / sqrt(v.v + eps), or zeros; divided first by its largest number."""
    largest = max(np.abs(vector).max(), np.sqrt(norm_eps))
    if largest == 0:
        return vector
    vector = vector / largest
    return vector / np.sqrt((vector * vector).sum() + (np.sqrt(norm_eps) / largest) ** 2)


class DictIndex:
    """B dictionaries from slot to word: what an index must do, without any cleverness."""

    def __init__(self, batch_size: int, metric: Metric = "cosine", norm_eps: float = 0.0) -> None:
        self.words: list[dict[int, np.ndarray]] = [{} for _ in range(batch_size)]
        self.metric: Metric = metric
        self.norm_eps = norm_eps

    def update(self, slots: Tensor, words: Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot, word in zip(slots[b].tolist(), words[b].double().numpy(), strict=True):
                if slot >= 0:
                    memory[slot] = word.copy()

    def remove(self, slots: Tensor) -> None:
        for b, memory in enumerate(self.words):
            for slot in slots[b].tolist():
                memory.pop(slot, None)

    def reset(self, rows: Tensor | None = None) -> None:
        for b, memory in enumerate(self.words):
            if rows is None or rows[b]:
                memory.clear()

    def _scores(
        self, query: np.ndarray, memory: dict[int, np.ndarray], kept: dict[int, np.ndarray] | None
    ) -> dict[int, float]:
        """Scores by slot; of what is kept of the words, where an index rounds them."""
        metric = self.metric
        if kept is not None and metric == "cosine":  # what is kept is divided by norms already
            query, metric = _unit(query, self.norm_eps), "dot"
        words = memory if kept is None else kept
        return {slot: score(query, word, metric, self.norm_eps) for slot, word in words.items()}

    def assert_agrees(
        self, index: VectorIndex, queries: Tensor, k: int, *, rtol: float = 1e-4
    ) -> None:
        """Searches the index and checks everything the contract says about the answer."""
        kept = kept_words(index, self.words)
        found = index.search(queries, k)
        batch, count = queries.shape[:2]
        assert found.slots.shape == found.scores.shape == (batch, count, k)
        assert found.slots.dtype == torch.int64
        assert found.scores.dtype == index.dtype
        assert index.occupancy.tolist() == [len(memory) for memory in self.words]
        for b, memory in enumerate(self.words):
            for q in range(count):
                query = queries[b, q].double().numpy()
                true = self._scores(query, memory, None if kept is None else kept[b])
                slots, scores = found.slots[b, q].tolist(), found.scores[b, q].double().numpy()
                n = sum(slot >= 0 for slot in slots)
                assert slots[n:] == [-1] * (k - n), "free places come last"
                assert np.all(scores[n:] == -np.inf), "a free place has the score -inf"
                assert len(set(slots[:n])) == n, "a slot was returned twice"
                assert set(slots[:n]) <= set(memory), "a slot without a word was returned"
                scale = max((abs(value) for value in true.values()), default=1.0)
                close: Any = {"rtol": rtol, "atol": rtol * max(1.0, scale)}
                np.testing.assert_allclose(scores[:n], [true[s] for s in slots[:n]], **close)
                assert np.all(np.diff(scores[:n]) <= 0), "best first"
                if index.searching == "exact":
                    assert n == min(k, len(memory))
                    best = sorted(true.values(), reverse=True)[:n]
                    np.testing.assert_allclose(scores[:n], best, **close)
