"""The benchmark of bases: each size and index is built, searched and told about."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import base_made, base_memory
from benchmarks.base_made import words_of
from benchmarks.base_memory import main
from benchmarks.tables.base_table import base_table
from index import BaseMemory


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_words_are_as_many_as_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_made, "_PIECE", 30)
    assert [piece.shape for piece in words_of(70, 4)] == [(30, 4), (30, 4), (10, 4)]


def test_the_script_writes_what_it_prints(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(base_memory, "_STEPS", 1)
    monkeypatch.setattr(base_memory, "_SEQUENCE", 4)
    options = ["--words", "200", "400", "--index", "exact", "product", "--rounds", "1"]
    main([*options, "--dtype", "float16", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "base_memory.json").read_text())
    told = [(base["index"], base["words"]) for base in results["bases"]]
    assert told == [(kind, count) for kind in ("exact", "product") for count in (200, 400)]
    for base in results["bases"]:
        assert base["dtype"] == "float16" and base["nbytes"] >= 64 * base["words"]
        assert base["step_ms"]["median"] > 0 and base["open_ms"] > 0
        assert base["recall"] == 1.0 or base["index"] == "product"
        assert 0 <= base["recall"] <= 1
    assert results["optimizers"]["rows"] == 400
    assert results["optimizers"]["sparse_adam"]["times_sparse_adam"]["median"] == 1.0
    rows = [line.split(" | ") for line in base_table(tmp_path).splitlines() if "`" in line]
    assert [row[0] for row in rows[:4]] == ["| `exact`"] * 2 + ["| `product`"] * 2
    assert rows[1][1:4] == ["400", "float16", f"{results['bases'][1]['nbytes'] / 400:.1f}"]
    assert {len(row) for row in rows[:4]} == {12}
    assert all(base["sam_to_loop"]["median"] > 0 for base in results["bases"])
    out = capsys.readouterr().out
    assert f"{results['bases'][0]['step_ms']['median']:.3f}" in out and "rowwise_adam" in out


def test_bases_are_added_to_those_in_the_file_and_found_again(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(base_memory, "_STEPS", 1)
    monkeypatch.setattr(base_memory, "_SEQUENCE", 4)
    kept = tmp_path / "bases"
    options = ["--rounds", "1", "--out", str(tmp_path), "--folder", str(kept), "--clock", "cpu"]
    main([*options, "--words", "300", "200", "--index", "exact"])
    first = json.loads((tmp_path / "base_memory.json").read_text())
    identity = BaseMemory.open(kept / "exact_200_float32").identity
    main([*options, "--words", "200", "--index", "ivf", "--add"])
    main([*options, "--words", "200", "--index", "exact", "--add"])
    added = json.loads((tmp_path / "base_memory.json").read_text())
    told = [(base["index"], base["words"]) for base in added["bases"]]
    assert told == [("exact", 200), ("exact", 300), ("ivf", 200)]
    assert added["optimizers"] == first["optimizers"]
    assert added["bases"][0]["build_seconds"] == first["bases"][1]["build_seconds"]
    assert BaseMemory.open(kept / "exact_200_float32").identity == identity


def test_nothing_is_added_to_a_file_that_is_not_there(tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--add", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert "--add: expected results to add to, got no file" in capsys.readouterr().err
