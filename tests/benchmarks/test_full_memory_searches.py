"""The searches of a full memory alone, of a memory of some hundred words."""

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("faiss")

from benchmarks.base_rivals import recall_of
from benchmarks.full_memory_searches import least_effort, main
from benchmarks.tables.searches_table import searches_table


def test_each_index_is_measured_with_the_queries_of_a_model(tmp_path: Path) -> None:
    how = ["--memory-size", "512", "--steps", "3", "--rounds", "2", "--out", str(tmp_path)]
    assert main(how) == 0
    results = json.loads((tmp_path / "full_memory_searches.json").read_text())
    names = [entry["index"] for entry in results["searches"]]
    assert names[0] == "ivf" and sum("faiss" in name for name in names) == 4
    for entry in results["searches"]:
        assert entry["recall"] >= 0.8 and entry["memory_size"] == 512
        assert entry["to_lstm"]["median"] > 0
    text = searches_table(tmp_path)
    assert all(f"`{name}`" in text for name in names) and "2^9" in text


def test_the_least_effort_that_reaches_the_recall_is_taken() -> None:
    truth = np.arange(8).reshape(2, 4)

    def make(effort: int):
        return lambda queries: np.where(np.arange(4) < effort, truth, -1)

    queries = np.zeros((1, 2, 3), np.float32)
    assert recall_of([make(3)(queries)], truth) == 0.75
    assert least_effort((1, 2, 3, 4), make, queries, truth, 0.7)[:2] == (3, 0.75)
    assert least_effort((1, 2), make, queries, truth, 0.7)[:2] == (2, 0.5)
