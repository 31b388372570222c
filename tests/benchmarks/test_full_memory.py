"""The benchmark of full memories, on memories of some hundred words."""

import json
from pathlib import Path

import pytest

from benchmarks.full_memory import FullMemory, main
from benchmarks.workload import Workload

TINY = ["--memory-size", "256", "128", "--steps", "3", "--rounds", "2"]


def test_each_index_is_measured_at_each_size(tmp_path: Path) -> None:
    indexes = ["exact", "lsh[probes=2]"]
    assert main(["--index", *indexes, *TINY, "--out", str(tmp_path)]) == 0
    results = json.loads((tmp_path / "full_memory.json").read_text())
    assert [one["index"] for one in results["indexes"]] == indexes
    assert results["rounds"] == 2
    for one, searching in zip(results["indexes"], ("exact", "lsh"), strict=True):
        assert [size["memory_size"] for size in one["sizes"]] == [128, 256]
        for size in one["sizes"]:
            assert size["searching"] == searching
            times = size["ms_per_step"]
            assert times["total"]["median"] > 0
            assert {"forward", "backward"} < {*times}
            assert size["to_lstm"]["median"] > 0
        assert one["largest_to_smallest"]["median"] > 0


def test_the_memory_is_full_from_the_start_and_goes_on() -> None:
    full = FullMemory(Workload(steps=3, batch_size=2), 128, "exact")
    assert full.state.memory.index.occupancy.tolist() == [128, 128]
    before = full.state.memory.words.words.clone()
    phases: list[str] = []
    full.timed(phases.append)
    assert phases == ["forward", "backward"]
    after = full.state.memory.words.words
    changed = (before != after).any(2).sum(1)
    assert ((changed > 0) & (changed < 128)).all()


@pytest.mark.parametrize(("index", "text"), [("aardvark", "exact"), ("exact[probes=2]", "probes")])
def test_a_wrong_index_is_told_in_one_line(index: str, text: str, tmp_path: Path, capsys) -> None:
    assert main(["--index", index, *TINY, "--out", str(tmp_path)]) == 1
    error = capsys.readouterr().err
    assert text in error and error.count("\n") == 1
    assert not list(tmp_path.iterdir())
