"""Long sequences: what is measured, and the script on sequences of some tens of steps."""

import json
import os
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import harness, long_sequence
from benchmarks.bytes.apart import in_new_process, resident
from benchmarks.long_sequence import LINES, Line, lines_of, long_sequence_table, main, measure
from benchmarks.workload import Workload
from index.compiled import is_compiled, use_compiled

SMALL = Workload(batch_size=2, steps=10, hidden_size=10, num_heads=2, word_size=8)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The script measures in this process, small; returns what it was asked to, kind and steps."""
    asked: list[tuple[str, int]] = []

    def run(function: Callable[..., Any], workload: Workload, steps: int, **named: Any) -> Any:
        asked.append((getattr(workload.index, "kind", ""), steps))
        return function(workload, steps, **named)

    monkeypatch.setattr(long_sequence, "in_new_process", run)
    monkeypatch.setattr(long_sequence, "QUICK_LENGTHS", (6, 12))
    monkeypatch.setattr(long_sequence, "QUICK_REFERENCE", 8)
    monkeypatch.setattr(long_sequence, "WARM_STEPS", 4)
    monkeypatch.setattr("benchmarks.bytes.kept_sam.STEPS", (5, 7))
    return asked


def test_a_sequence_is_timed_beside_another() -> None:
    found = measure(SMALL, 12, memory_size=16, reference=6, rounds=3)
    assert (found["steps"], found["reference_steps"], found["rounds"]) == (12, 6, 3)
    assert found["memory_size"] == 16
    phases = found["seconds_per_step"]
    assert {*phases} == {"forward", "backward", "total"}
    for seconds in (*phases.values(), found["to_reference"]):
        assert 0 < seconds.low <= seconds.median <= seconds.high
    assert (found["resident"] is None) == (sys.platform != "linux")


def test_the_path_is_the_one_that_ran() -> None:
    compiled = is_compiled(None, torch.device("cpu"), torch.float32)
    found = measure(SMALL, 6, memory_size=16, reference=6, rounds=1)
    assert found["path"] == ("sequence" if compiled else "plain")
    with use_compiled(False):
        assert measure(SMALL, 6, memory_size=16, reference=6, rounds=1)["path"] == "plain"


def test_the_memory_has_the_size_that_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: set[int] = set()
    before = Workload.sam

    def sam(workload: Workload, memory_size: int, *given: Any) -> Any:
        sizes.add(memory_size)
        return before(workload, memory_size, *given)

    monkeypatch.setattr(Workload, "sam", sam)
    measure(SMALL, 6, memory_size=23, reference=5, rounds=1)
    assert sizes == {23}


def test_time_per_step_is_compared_not_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(things: dict[str, Any], *, rounds: int, warmup: int) -> Any:
        assert [*things] == ["sequence", "reference"] and warmup == 0
        things["sequence"](lambda phase: None)
        both = {"forward": [2.0], "backward": [4.0], "prepare": [100.0]}
        return {"sequence": both, "reference": {"forward": [1.0], "backward": [1.0]}}

    monkeypatch.setattr(long_sequence, "take_turns", turns)
    found = measure(SMALL, 12, memory_size=16, reference=6, rounds=1)
    assert found["seconds_per_step"]["total"].median == pytest.approx(6 / 12)
    assert found["to_reference"].median == pytest.approx((6 / 12) / (2 / 6))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def _resident_of_64_mib() -> Any:
    """In a process of its own: the growth is of the peak, which other tests have raised."""
    return resident(lambda: torch.ones(16 * 2**20))


def test_the_resident_set_counts_what_was_there_before() -> None:
    found = in_new_process(_resident_of_64_mib)
    assert found is not None
    assert 60 * 2**20 < found.growth < 80 * 2**20
    assert found.peak - found.growth > 50 * 2**20  # Python and torch


def test_a_new_process_is_another_one() -> None:
    assert in_new_process(os.getpid) != os.getpid()
    assert in_new_process(int, "11", base=2) == 3
    with pytest.raises(ValueError, match="invalid literal"):
        in_new_process(int, "x")
    with pytest.raises(BrokenProcessPool):
        in_new_process(os._exit, 1)


def test_a_measurement_comes_back_from_its_process() -> None:
    found = in_new_process(measure, SMALL, 4, memory_size=16, reference=3, rounds=1)
    assert found["to_reference"].median > 0


def test_script_writes_and_prints(
    here: list[tuple[str, int]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert long_sequence_table(tmp_path).startswith("Not measured yet: `python -m benchmarks.long")
    assert main(["--quick", "--out", str(tmp_path)]) == 0
    assert here == [("exact", 6), ("exact", 12), ("ivf", 6), ("ivf", 12)]
    assert [path.name for path in tmp_path.iterdir()] == ["long_sequence.json"]
    results = json.loads((tmp_path / "long_sequence.json").read_text())
    assert results["limit"]["bytes_per_step"] == 8000
    assert results["limit"]["resident_peak"] == 16 * 2**30
    assert (results["threads"], results["setting"]["batch_size"]) == (1, 1)
    sizes = [sequence["memory_size"] for sequence in results["sequences"]]
    assert sizes == [2**10, 2**10, 2**20, 2**20]
    for sequence in results["sequences"]:
        assert sequence["path"] == results["kept"]["path"]
        assert sequence["reference_steps"] == results["reference_steps"] == 8
        phases = {name: value["median"] for name, value in sequence["seconds_per_step"].items()}
        assert phases["total"] == pytest.approx(phases["forward"] + phases["backward"])
    pieces = results["kept"]["pieces"]
    assert sum(piece["bytes"] for piece in pieces) == pytest.approx(
        results["kept"]["bytes_per_step"]
    )
    printed = capsys.readouterr().out
    row = "| `ivf` | 1,048,576 | 12 |"
    for part in ("exact, 6 steps", row, "| to 8 steps |", "8,000 bytes", "16 GiB"):
        assert part in printed
    first, second = long_sequence_table(tmp_path).split("\n\n")[:2]
    for table, rows in ((first, 4), (second, len(pieces) + 1)):
        lines = table.splitlines()
        assert len(lines) == 2 + rows
        assert len({line.count("|") for line in lines}) == 1


def test_lists_stop_early_unless_they_are_asked_for(
    here: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_sequence, "LINES", (Line("exact", 64), Line("ivf", 64, 10)))
    main(["--quick", "--out", str(tmp_path)])
    assert here == [("exact", 6), ("exact", 12), ("ivf", 6)]
    assert "ivf: no more than 10 steps" in capsys.readouterr().out
    here.clear()
    main(["--quick", "--out", str(tmp_path), "--index", "ivf", "--memory-size", "32"])
    assert here == [("ivf", 6), ("ivf", 12)]
    results = json.loads((tmp_path / "long_sequence.json").read_text())
    assert {sequence["memory_size"] for sequence in results["sequences"]} == {32}


def test_which_memories_are_measured() -> None:
    assert lines_of(None, None) == [*LINES] == [("exact", 2**10, 10**6), ("ivf", 2**20, 10**5)]
    assert lines_of(None, 64) == [("exact", 64, 10**6), ("ivf", 64, 10**5)]
    assert lines_of(["ivf[probes=2]", "lsh", "exact[compiled=false]"], None) == [
        ("ivf[probes=2]", 2**20, 10**6),
        ("lsh", 2**20, 10**6),
        ("exact[compiled=false]", 2**10, 10**6),
    ]


def test_the_longest_sequence_has_one_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: list[tuple[str, int]]
) -> None:
    turns: dict[int, int] = {}

    def asked(function: Any, workload: Workload, steps: int, *, rounds: int, **named: Any) -> Any:
        turns[steps] = rounds
        return function(SMALL, 3, rounds=1, **named | {"reference": 2, "memory_size": 16})

    monkeypatch.setattr(long_sequence, "in_new_process", asked)
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    assert main(["--longest", "--rounds", "4", "--index", "ivf"]) == 0
    assert turns == {10**3: 4, 10**4: 4, 10**5: 4, 10**6: 1}


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (["--index", "exact", "aardvark"], "exact"),
        (["--index", "exact", "exact[probes=2]"], "probes"),
        (["--memory-size", "3"], "top_k"),
    ],
)
def test_a_mistake_is_told_in_one_line(
    given: list[str],
    text: str,
    here: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["--quick", *given, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
    assert not here and not [*tmp_path.iterdir()]


def test_what_was_measured_before_a_process_was_ended_is_kept(
    here: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(function: Any, workload: Workload, steps: int, **named: Any) -> Any:
        if steps == 12:
            raise BrokenProcessPool
        return function(workload, steps, **named)

    monkeypatch.setattr(long_sequence, "in_new_process", run)
    assert main(["--quick", "--out", str(tmp_path)]) == 1
    assert "out of memory?" in capsys.readouterr().err
    results = json.loads((tmp_path / "long_sequence.json").read_text())
    assert [sequence["steps"] for sequence in results["sequences"]] == [6]
