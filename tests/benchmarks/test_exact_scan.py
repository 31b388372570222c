"""The benchmark of exact search: what it measures is the same search twice."""

import json
from pathlib import Path

import pytest
import torch

from benchmarks import exact_scan
from benchmarks.exact_scan import Search, main, measure


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_both_ways_are_timed_and_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    search = Search(batch_size=2, words=300, word_size=8, queries=3)
    entry = measure(search, rounds=2)
    assert (entry["words"], entry["k"]) == (300, 8)
    assert entry["same_slots"] == 1.0
    assert entry["largest_difference"] < 1e-5
    for name in ("plain_ms", "scan_ms", "times_as_fast"):
        assert 0 < entry[name].low <= entry[name].median <= entry[name].high

    def wrong(words, penalty, queries, k, metric):
        return tuple(part + 1 for part in (queries @ words.transpose(1, 2)).topk(k))

    monkeypatch.setattr(exact_scan, "scan", wrong)
    entry = measure(search, rounds=1)
    assert entry["same_slots"] < 1.0
    assert entry["largest_difference"] == pytest.approx(1.0, abs=1e-5)


def test_the_script_writes_what_it_prints(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    quick = (Search(batch_size=1, words=64, word_size=4, queries=2),)
    monkeypatch.setattr(exact_scan, "QUICK", quick)
    main(["--quick", "--rounds", "1", "--threads", "1", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "exact_scan_1.json").read_text())
    assert results["threads"] == 1
    assert [entry["words"] for entry in results["searches"]] == [64]
    assert (
        f"{results['searches'][0]['times_as_fast']['median']:.2f} times" in capsys.readouterr().out
    )
