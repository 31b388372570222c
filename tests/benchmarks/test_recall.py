"""Recall at 1 and at K, as the benchmark of full memories tells it."""

import pytest
import torch

from benchmarks.index.index_recall import Recalls, recall_of_copies
from index import IndexConfig, make_index, recall_at_k


def test_recall_is_that_of_the_searches_made() -> None:
    words, queries = torch.randn(2, 4000, 16), torch.randn(2, 16, 16)
    config = IndexConfig(kind="lsh", exact_below=0, probes=4)
    lookup = make_index(config, batch_size=2, capacity=4000, word_size=16)
    lookup.load(words)
    recalls = Recalls()
    assert recalls.recall_1 is None
    with recalls:
        found = lookup.search(queries, 4)
    exact = lookup.search_exact(queries, 4)  # type: ignore[attr-defined]
    first, all_k = (recall_at_k(found, exact, k).double().mean().item() for k in (1, 4))
    assert (recalls.recall_1, recalls.recall) == pytest.approx((first, all_k))
    assert 0 < all_k < 1


def test_copies_of_words_are_found_more_often_than_anything() -> None:
    words = torch.nn.functional.normalize(torch.randn(2, 4000, 16), dim=2)
    config = IndexConfig(kind="lsh", exact_below=0, probes=4)
    lookup = make_index(config, batch_size=2, capacity=4000, word_size=16)
    lookup.load(words)
    with Recalls() as anything:
        lookup.search(torch.randn(2, 64, 16), 4)
    found = recall_of_copies(lookup, words, 4)
    assert anything.recall_1 is not None
    assert anything.recall_1 < found["recall_1"] <= 1
    assert 0 < found["recall_k"] < found["recall_1"]
    exact = make_index("exact", batch_size=2, capacity=4000, word_size=16)
    exact.load(words)
    assert recall_of_copies(exact, words, 4) == {"recall_1": 1.0, "recall_k": 1.0}
