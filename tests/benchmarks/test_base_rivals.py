"""The benchmark of other libraries: all find the same words, with an effort that is enough."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import base_rivals
from benchmarks.base_rivals import K, factories, main, recall_of, true_neighbors
from benchmarks.tables.rivals_table import rivals_table
from index.metric import unit

faiss = pytest.importorskip("faiss")


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    yield
    torch.set_num_threads(before[0])
    faiss.omp_set_num_threads(before[1])


def test_true_neighbors_are_those_of_all_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    words = unit(torch.randn(2**18 + 50, 4, generator=generator), torch.zeros(()))
    queries = words[[3, 2**18 + 7]]
    true = true_neighbors(words, queries)
    assert true.tolist() == (queries @ words.T).topk(K).indices.tolist()
    assert recall_of([true[:1], true[1:]], true) == 1.0
    assert recall_of([np.where(np.arange(K) < 1, true, -1)], true) == 1 / K


def test_the_script_writes_what_it_prints(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(base_rivals, "CALLS", 3)
    monkeypatch.setattr(base_rivals, "MEASURED", 2)
    options = ["--rounds", "1", "--out", str(tmp_path), "--folder", str(tmp_path / "bases")]
    main([*options, "--words", "3000", "--index", "ivf", "exact"])
    main([*options, "--words", "500", "--index", "exact", "--factory", "Flat", "HNSW8", "--add"])
    main([*options, "--words", "3000", "--index", "ivf", "--factory", "HNSW8", "--add"])
    found = json.loads((tmp_path / "base_rivals.json").read_text())["found"]
    lists = next(factories(3000, 47)), [*factories(3000, 47)]
    named = {(one["words"], one["index"]) for one in found}
    assert len(named) == len(found) == 3 + 2 + len(lists[1]) + 1
    assert (500, "faiss Flat") in named and (3000, f"faiss {lists[0]}") in named
    for one in found:
        assert one["call_ms"]["median"] > 0 and one["recall"] > 0.8, one
        if one["index"].startswith("faiss"):
            assert one["recall"] >= 0.9, one
        if one["index"] in ("base exact", "faiss Flat"):
            assert one["recall"] == 1.0
    shown = rivals_table(tmp_path)
    assert shown.count("\n| ") == len(found) and "| `faiss HNSW16,Flat` |" in shown
    assert f"recall {found[0]['recall']:.3f}" in capsys.readouterr().out
