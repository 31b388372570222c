"""Measures the recall of searches made elsewhere, for example by a model in training."""

from collections import Counter
from contextvars import ContextVar
from typing import Any, Self

import torch
from torch import Tensor

from index.neighbors import Neighbors
from index.recall_measure import recall_at_k

ACTIVE: "ContextVar[Audit | None]" = ContextVar("audit", default=None)
"""The innermost audit that is entered; every search is recorded in it."""


class Audit:
    """Compares every search with an exact one of the same words, while it is entered.

        with Audit() as audit:
            outputs, state = model(inputs)
        print(audit.recall, audit.searches)

    The results of the searches do not change. Of two nested audits only the inner one counts.
    Indexes that do not keep their words (see `StoredIndex`) cannot be audited and are left out.

    Attributes:
        searches: number of searches by what answered them, such as "exact" or "ivf".

    Cost: one exact search more for each search that is not exact.
    """

    def __init__(self) -> None:
        self.searches: Counter[str] = Counter()
        self._shares: list[Tensor] = []

    @property
    def recall(self) -> float | None:
        """Mean share of the k best that was found, over all queries; None before the first."""
        if not self._shares:
            return None
        return torch.cat(self._shares).double().mean().item()

    def __enter__(self) -> Self:
        self._token = ACTIVE.set(self)
        return self

    def __exit__(self, *error: object) -> None:
        ACTIVE.reset(self._token)

    def record(self, searched: Any, queries: Tensor, k: int, found: Neighbors) -> None:
        """Records what an index found for checked queries."""
        name = searched.searching
        if name == "exact":
            share = found.scores.new_ones(queries.shape[0] * queries.shape[1])
        elif hasattr(searched, "true_neighbors"):
            share = recall_at_k(found, searched.true_neighbors(queries, k)).flatten()
        else:
            return
        self.searches[name] += 1
        self._shares.append(share)


def is_audited() -> bool:
    """Whether an audit is active, so that searches should be made one by one."""
    return ACTIVE.get() is not None
