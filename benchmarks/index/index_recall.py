"""Recall of the index inside of a model: for noisy copies of its words, and for its own keys."""

from typing import Any

import torch
from torch import Tensor

from index import Audit, Neighbors, recall_at_k
from index.bench.word_sources import QUERY_NOISE, copies

_AT_ONCE = 16


class Recalls(Audit):
    """An audit that also tells how often the nearest word of all was found."""

    def __init__(self) -> None:
        super().__init__()
        self._first: list[Tensor] = []

    @property
    def recall_1(self) -> float | None:
        """Share of queries whose nearest word was found; None before the first."""
        if not self._first:
            return None
        return torch.cat(self._first).double().mean().item()

    def record(self, searched: Any, queries: Tensor, k: int, found: Neighbors) -> None:
        """As `Audit.note`."""
        super().record(searched, queries, k, found)
        if searched.searching == "exact":
            self._first.append(torch.ones(queries.shape[:2]).flatten())
        elif hasattr(searched, "search_exact"):
            exact = searched.search_exact(queries, k)
            self._first.append(recall_at_k(found, exact, 1).flatten())


def recall_of_copies(searched: Any, words: Tensor, k: int, *, count: int = 64) -> dict[str, float]:
    """Recall at 1 and at k for queries near words that are there.

    Args:
        searched: the index that holds the words.
        words: [B, N, W], of which copies are looked for.
        k: words searched for.
        count: queries for each memory.
    """
    generator = torch.Generator().manual_seed(0)
    batch, size, _ = words.shape
    which = torch.randint(size, (batch, count), generator=generator)
    near = words[torch.arange(batch)[:, None], which]
    queries = copies(near, QUERY_NOISE, generator=generator)
    recalls = Recalls()
    with recalls:
        for some in queries.split(_AT_ONCE, 1):
            searched.search(some, k)
    first, all_k = recalls.recall_1, recalls.recall
    if first is None or all_k is None:
        raise ValueError("searched: expected an index that keeps its words, got one that does not")
    return {"recall_1": first, "recall_k": all_k}
