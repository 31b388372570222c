"""Backends with tables while they hold no word at all."""

import pytest
import torch

from index import IndexConfig, make_index


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("kind", ["lsh", "ivf", "product"])
def test_tables_of_no_words(kind: str, metric: str, compiled: bool) -> None:
    """Only skipped slots are given where tables are kept from the first word on."""
    if compiled:
        pytest.importorskip("numba")
    config = IndexConfig(kind=kind, metric=metric, exact_below=0, compiled=compiled)
    index = make_index(config, batch_size=1, capacity=64, word_size=4)
    none, slots = torch.full((1, 5), -1), torch.arange(5)[None]
    words = torch.eye(5, 4)[None] + 1
    for _ in range(2):
        index.update(none, words)
        assert (index.search(words, 2).slots == -1).all()
        index.update(slots, words)
        assert index.occupancy.tolist() == [5]
        index.reset()
