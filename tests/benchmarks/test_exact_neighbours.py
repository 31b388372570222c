"""The benchmark of many neighbours: what it measures is the same search twice."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks.index import exact_neighbours
from benchmarks.index.exact_neighbours import SEARCHES, Search, main, measure

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("metric", exact_neighbours.METRICS)
def test_both_forms_are_timed_and_compared(metric) -> None:
    entry = measure(Search(metric=metric, words=300, queries=3, k=40, word_size=8), rounds=2)
    assert (entry["words"], entry["k"]) == (300, 40)
    assert entry["largest_difference"] < 1e-4
    for name in ("compiled_ms", "torch_ms", "times_as_long"):
        assert 0 < entry[name].low <= entry[name].median <= entry[name].high


def test_the_script_writes_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(exact_neighbours, "QUICK", SEARCHES[:2])
    main(["--quick", "--rounds", "1", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "exact_neighbours.json").read_text())
    assert [entry["k"] for entry in results["searches"]] == [1, 10]
    printed = capsys.readouterr().out
    assert f"{results['searches'][1]['times_as_long']['median']:.2f} (" in printed
