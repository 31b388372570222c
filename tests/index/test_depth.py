"""Classes of the backends: how deep they are, and hooks that are not there."""

import pytest
import torch
from torch import Tensor

from index import IndexConfig, Neighbors, VectorIndex, available_indexes
from index.registry import index_class


@pytest.mark.parametrize("kind", available_indexes())
def test_at_most_four_classes_deep(kind: str) -> None:
    classes = index_class(kind).__mro__
    assert classes[-1] is object and classes[-2] is VectorIndex
    assert len(classes) - 1 <= 4


class Bare(VectorIndex):
    """Calls hooks of VectorIndex, which has none."""

    def _occupancy(self) -> Tensor:
        return torch.zeros(1, dtype=torch.int64)

    def _build(self) -> None: ...
    def _grow(self, slots: int) -> None: ...

    def _update(self, slots: Tensor, words: Tensor) -> None:
        super()._update(slots, words)

    def _remove(self, slots: Tensor) -> None:
        super()._remove(slots)

    def _search(self, queries: Tensor, k: int) -> Neighbors:
        return super()._search(queries, k)

    def _reset(self, rows: Tensor | None) -> None:
        super()._reset(rows)


@pytest.mark.parametrize(
    ("hook", "call"),
    [
        ("_update", lambda i: i.update(torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1, 2))),
        ("_remove", lambda i: i.remove(torch.zeros(1, 1, dtype=torch.int64))),
        ("_search", lambda i: i.search(torch.ones(1, 1, 2), 1)),
        ("_reset", lambda i: i.reset()),
        ("_restore", lambda i: i._restore(None)),
    ],
)
def test_a_hook_that_is_not_there_says_so(hook: str, call) -> None:
    index = Bare(IndexConfig(kind="bare"), batch_size=1, capacity=4, word_size=2)
    index._in_use = 1
    with pytest.raises(NotImplementedError, match=rf"Bare\.{hook}: expected an implementation"):
        call(index)


def test_a_class_without_hooks_cannot_be_made() -> None:
    sizes = {"batch_size": 1, "capacity": 1, "word_size": 1}
    with pytest.raises(TypeError, match="abstract"):
        type("Empty", (VectorIndex,), {})(IndexConfig(), **sizes)
