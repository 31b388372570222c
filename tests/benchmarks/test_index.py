"""The index benchmark from end to end on small memories, and what it decides on the way."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.index.__main__ import main
from benchmarks.index.index_parts import churn_of
from benchmarks.index.index_room import (
    INDEXES,
    Participant,
    free_bytes,
    groups,
    lists,
    participants,
)
from index import ExactIndex
from index.bench.comparison import Comparison
from index.bench.traffic import Setting
from tests.benchmarks.test_index_words import write
from tests.index.test_bench import Blind, make

SETTING = Setting(memory_size=512, word_size=8, batch_size=2)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registers exact search and a sloppy index only."""
    monkeypatch.setattr("index.registry._INDEXES", {"exact": ExactIndex, "blind": Blind})


def run(folder: Path, *arguments: str) -> list[dict[str, Any]]:
    """The records after a quick run with the sloppy index."""
    fixed = ["--quick", "--rounds", "1", "--out", str(folder), "--index", "blind"]
    assert main([*fixed, *arguments]) == 0
    return json.loads((folder / "index.json").read_text())["records"]


def test_all_parts_are_measured_and_drawn(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    glove = write(tmp_path / "g.npz")
    out = tmp_path / "out"
    sizes = ["--memory-size", "256", "512", "--glove", str(glove), "--glove-index", "blind"]
    records = run(out, *sizes)
    assert [(r["part"], r["memory_size"], r["word_size"]) for r in records] == [
        *(
            (part, size, 32)
            for part in ("clustered", "gaussian", "drift", "hot")
            for size in (256, 512)
        ),
        ("glove", 200, 6),
    ]
    for record in records:
        assert record["threads"] == 1
        assert record["command"].startswith("python -m benchmarks.index --quick")
        exact, blind = record["indexes"]
        assert (exact["family"], blind["family"]) == ("exact", "blind")
        for good, bad in zip(states(exact), states(blind), strict=True):
            assert good["recall_1"] == good["recall_k"] == 1.0
            assert 0.3 < bad["recall_k"] < 0.7
    for record in records[:4]:
        assert record["churn"] == {"slots": 2 * record["memory_size"], "per_call": 36}
        state = record["indexes"][1]["churned"]
        ms = {phase: spread["median"] for phase, spread in state["ms"].items()}
        assert ms["total"] == pytest.approx(ms["update"] + ms["search"])
        assert state["to"]["exact"]["median"] > 0
    assert (out / "index.png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    for part in ("1 thread(s)", "clustered, N = 256", "recall@1 1.000 -> 1.000", "ms per query"):
        assert part in printed


def states(entry: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry[k] for k in ("fresh", "churned", "before", "after") if k in entry] or [entry]


def test_what_is_not_measured_stays_in_the_file(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    part = ["--part", "drift", "--memory-size"]
    (old,) = run(tmp_path, *part, "256")
    (tmp_path / "index.json").write_text(json.dumps({"records": [old | {"mark": 1}]}))
    kept, new = run(tmp_path, *part, "256", "512", "--keep")
    assert (kept["mark"], kept["memory_size"], new["memory_size"]) == (1, 256, 512)
    again, other = run(tmp_path, *part, "256")
    assert "mark" not in again
    assert other == new


def test_without_the_glove_file_a_line_says_where_to_put_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    arguments = ["--part", "glove", "drift", "--memory-size", "256", "--glove", "none.npz"]
    assert [record["part"] for record in run(tmp_path, *arguments)] == ["drift"]
    assert "glove: left out; no file none.npz; --glove or SPARSE_SAM_ANN" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--index", "blnid"], "did you mean 'blind'?"),
        (["--memory-size", "8"], "writes: expected at most memory_size=8"),
        (["--index", "blind[probes=2]"], "probes: not an option"),
    ],
)
def test_a_users_mistake_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--quick", "--part", "drift", "--out", str(tmp_path), *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "index.json").exists()


def participant(name: str, gigabytes: float, family: str = "") -> Participant:
    return Participant(name, family or name, make(ExactIndex), int(gigabytes * 2**30))


def test_indexes_are_grouped_by_what_fits() -> None:
    # The words are 128 KiB: next to nothing.
    exact, raw = participant("exact", 1), participant("raw faiss", 1)
    a, b, c, d = (participant(name, size) for name, size in zip("abcd", (2, 2, 3, 9), strict=True))
    reported: list[str] = []
    found = groups([exact, a, raw, b, c, d], SETTING, int(6.1 * 2**30), reported.append)
    assert [[one.name for one in group] for group in found] == [
        ["exact", "raw faiss", "a", "b"],
        ["exact", "raw faiss", "c"],
    ]
    (line,) = reported
    assert line.startswith("d: left out at N = 512, W = 8; takes about 11.0 GiB, 6.1 GiB")
    assert groups([exact, raw], SETTING, 2**40, reported.append) == [[exact, raw]]
    assert groups([exact, raw], SETTING, 2**20, reported.append) == []
    assert groups([exact, d], SETTING, 2**20, reported.append) == []


def test_room_is_estimated_from_above() -> None:
    (exact, blind) = participants(["blind"], SETTING, print)
    assert (exact.name, blind.name) == ("exact", "blind")
    comparison = Comparison(SETTING, {"blind": blind.make})
    comparison.load()
    held = comparison.bytes_held()
    assert held["exact"] <= exact.nbytes < blind.nbytes
    assert 2**20 < free_bytes() < 2**50


def test_large_memories_churn_in_large_calls() -> None:
    assert churn_of(Setting(memory_size=2**16)) == {"slots": 2**17, "per_call": 36}
    assert churn_of(Setting(memory_size=2**20)) == {"slots": 2**18, "per_call": 4096}


@pytest.mark.parametrize(("size", "expected"), [(2**12, 64), (2**16, 256), (2**17, 256), (1, 1)])
def test_lists_are_about_the_square_root(size: int, expected: int) -> None:
    assert lists(size) == expected


def test_raw_faiss_with_all_lists_probed_is_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("faiss")
    raw = participants(INDEXES[:2], SETTING, print)[-1]
    assert raw.family == "raw faiss"
    monkeypatch.setattr("benchmarks.index.index_room._PROBES", lists(SETTING.memory_size))
    comparison = Comparison(SETTING, {"raw": raw.make})
    comparison.load()
    comparison.rewrite(comparison.traffic.updates(300, per_call=36))
    judged = comparison.judge()["raw"]
    assert (judged.recall_1, judged.recall_k, judged.candidates) == (1.0, 1.0, 512)
    assert comparison.bytes_held()["raw"] == 2 * 512 * (4 * 8 + 16)
    found = comparison.indexes["raw"].search(torch.zeros(2, 3, 8), 600)  # more than there are
    assert found.slots.shape == (2, 3, 600)
    assert torch.equal(found.slots == -1, found.scores == -torch.inf)


def test_without_faiss_a_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    reported: list[str] = []
    assert [one.name for one in participants(["raw faiss"], SETTING, reported.append)] == ["exact"]
    (line,) = reported
    assert line.startswith("raw faiss: left out; ") and "pip install" in line
