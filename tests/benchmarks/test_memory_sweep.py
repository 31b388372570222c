"""The script from end to end, in small; and full memories, size after size until a limit."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import memory_sweep
from benchmarks.memory_sweep import main
from benchmarks.sweep.sweep_figure import PARTS_SHOWN
from benchmarks.sweep.sweep_file import FILE, Sweep
from benchmarks.sweep.sweep_full import full_memories
from benchmarks.sweep.sweep_parts import PARTS
from benchmarks.sweep.sweep_plan import FULL, QUICK, Plan
from benchmarks.tables import time_table
from benchmarks.tables.model_table import model_table
from benchmarks.tables.speed_table import speed_table
from benchmarks.workload import PATHS, Workload
from index import BackendMissingError

TINY = Plan(
    workload=Workload(batch_size=2, steps=6, hidden_size=10, num_heads=2, word_size=8),
    sizes=(2**10, 2**20, 2**30),
    dense_sizes=(16, 32),
    dense_steps=4,
    full_sizes=(64, 128),
    full_steps=4,
    lengths=(1, 4),
    lengths_dense_size=16,
    pair_size=32,
    peak_size=64,
    peak_steps=5,
    rounds=3,
    budget=0.0,
)


@pytest.fixture(autouse=True)
def small_and_here(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tiny sizes, in this process."""
    monkeypatch.setattr("benchmarks.sweep.sweep_bytes.resident_growth", lambda *given: None)
    monkeypatch.setattr(memory_sweep, "QUICK", TINY)
    monkeypatch.setattr(memory_sweep, "in_new_process", lambda run, *given: run(*given))
    monkeypatch.setattr(time_table, "SHOWN_FULL", TINY.full_sizes)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def all_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[Path, str]:
    """A folder with everything, and what was printed."""
    pytest.importorskip("matplotlib")
    assert main(["--quick", "--out", str(tmp_path)]) == 0
    return tmp_path, capsys.readouterr().out


def test_script_writes_all_that_tables_and_figure_need(all_parts: tuple[Path, str]) -> None:
    folder, printed = all_parts
    assert sorted(path.name for path in folder.iterdir()) == [FILE, "memory_sweep.png"]
    assert (folder / "memory_sweep.png").read_bytes()[:4] == b"\x89PNG"
    content = json.loads((folder / FILE).read_text())
    assert [*content["parts"]] == [*PARTS] and content["unfinished"] == {}
    for name, record in content["parts"].items():
        assert record["command"] == f"python -m benchmarks.memory_sweep --quick --out {folder.name}"
        assert record["threads"] == (2 if name == "threads" else 1)
        assert record["plan"]["full_sizes"] == [64, 128]
        assert record["seconds"] > 0
        assert {"processor", "cores"} <= {*record["machine"]} and "torch" in record["versions"]
        assert f"] {name}: " in printed
    assert "turns a round" in printed and "rounds: about" in printed
    check_entries(Sweep(folder))
    # The tables are made of it: every number is there.
    time = time_table.time_table(folder)
    for part in ("| 2^10, 2^20, 2^30 |", "every slot written, recall@1", "| NTM | 2^5 |", "SDNC"):
        assert part in time
    assert "| DNC | " in model_table(folder)
    for part in ("**Fresh memory**", "**Full memory**", "| T = 4 |", "2 threads"):
        assert part in speed_table(folder)
    for table in (time, model_table(folder)):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) == 1
        assert "nan" not in table.lower() and "None" not in table


def check_entries(sweep: Sweep) -> None:
    """Every model, way and size is there, with positive numbers."""
    fresh = [*sweep.entries("fresh")]
    lines = {(entry["model"], entry["index"], entry["path"]) for entry in fresh}
    assert {("sam", "exact", path) for path in PATHS} < lines
    assert {("sam", "ivf", PATHS[0]), ("sam", "lsh", PATHS[0])} < lines
    assert {("sdnc", "exact", PATHS[0]), ("sdnc", "exact", "step")} < lines
    assert {entry["memory_size"] for entry in fresh} == {None, 2**10, 2**20, 2**30}
    assert {*sweep.part("fresh")["flat"]} >= {f"sam exact {path}" for path in PATHS}
    full = [entry for entry in sweep.entries("full") if entry["full"]]
    assert {entry["memory_size"] for entry in full} == {64, 128}
    for entry in full:
        assert 0 <= entry["recall_k"] <= 1 and 0 <= entry["recall_1_of_keys"] <= 1
        assert entry["state_bytes"] > 2 * 4 * 8 * entry["memory_size"]
        assert entry["bytes_per_step"] > 0
    assert {entry["steps"] for entry in sweep.entries("lengths")} == {1, 4}
    for name in ("fresh", "dense", "full", "lengths", "threads"):
        for entry in sweep.entries(name):
            assert entry["seconds_per_step"]["forward"]["median"] > 0
            assert entry["seconds_per_step"]["backward"]["median"] > 0
    states = sweep.part("bytes")["fresh_state_bytes"]
    assert {*states} == {str(2**10), str(2**20), str(2**30)} and len({*states.values()}) == 1
    assert [peak["path"] for peak in sweep.part("bytes")["peaks"]] == [*PATHS]


def test_one_part_can_be_measured_again(tmp_path: Path, capsys) -> None:
    given = ["--quick", "--out", str(tmp_path), "--rounds", "1", "--only"]
    assert main([*given, "pair", "bytes"]) == 0
    before = json.loads((tmp_path / FILE).read_text())["parts"]
    assert main([*given, "pair"]) == 0
    after = json.loads((tmp_path / FILE).read_text())["parts"]
    assert {*before} == {*after} == {"pair", "bytes"}
    assert after["bytes"] == before["bytes"]
    assert after["pair"]["faster"] != before["pair"]["faster"]
    assert "no figure: it shows the parts fresh, dense, full" in capsys.readouterr().out


def test_what_was_measured_before_a_part_broke_is_kept(tmp_path: Path, monkeypatch) -> None:
    def broken(plan: Plan, report: Any) -> Iterator[dict[str, Any]]:
        """Breaks off."""
        yield {"entries": [1]}
        yield {"entries": [1, 2]}
        raise KeyboardInterrupt

    monkeypatch.setitem(PARTS, "dense", broken)
    with pytest.raises(KeyboardInterrupt):
        main(["--quick", "--out", str(tmp_path), "--only", "pair", "dense"])
    content = json.loads((tmp_path / FILE).read_text())
    assert content["unfinished"]["dense"]["entries"] == [1, 2]


def test_a_foreign_file_of_that_name_is_told_in_one_line(tmp_path: Path, capsys) -> None:
    (tmp_path / FILE).write_text("{}")
    assert main(["--quick", "--out", str(tmp_path), "--only", "pair"]) == 1
    error = capsys.readouterr().err
    assert "remove it" in error and error.count("\n") == 1


def test_full_memories_stop_at_a_limit() -> None:
    plan = replace(TINY, load_seconds=0.0, full_indexes=("exact", "ivf"))
    records = [*full_memories(plan, lambda line: None)]
    assert len(records) == 2  # each index at the first size
    assert {entry["memory_size"] for entry in records[-1]["entries"]} == {None, 64}
    stopped = [(one["line"], one["memory_size"]) for one in records[-1]["stopped"]]
    assert stopped in ([], [("exact", 128), ("ivf", 128)])
    assert [one["line"] for one in records[-1]["stopped"]] == ["exact", "ivf"]


def test_an_index_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(name: str, **given: Any) -> None:
        if name == "faiss":
            raise BackendMissingError("faiss: pip install")

    monkeypatch.setattr("benchmarks.sweep.sweep_plan.make_index", make)
    lines: list[str] = []
    records = [*full_memories(replace(TINY, full_sizes=(64,)), lines.append)]
    assert {e["index"] for e in records[-1]["entries"]} == {None, "exact", "lsh", "ivf", "product"}
    assert lines[0] == "faiss: left out; faiss: pip install"


def test_the_quick_plan_has_the_sizes_of_the_readme() -> None:
    """And what is measured is what the issue of the benchmark asks for."""
    for plan in (QUICK, FULL):
        assert {*time_table.SHOWN} <= {*plan.sizes}
        assert {2**16, 2**20} <= {*plan.full_sizes}
        assert plan.lengths == (1, 10, 100)
        assert plan.workload == Workload(steps=100)
    assert FULL.parts == tuple(PARTS) and {*PARTS_SHOWN, "bytes"} == {*QUICK.parts}
    assert min(FULL.sizes) == 2**6 and {2**24, 2**30} <= {*FULL.sizes}
