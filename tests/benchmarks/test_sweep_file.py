"""Parts are written one by one, and what is missing or damaged is named."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sweep.sweep_file import FILE, ResultsError, Sweep, write_part

SPREAD = {"median": 2.0, "low": 1.0, "high": 3.0}
ORIGIN: dict[str, Any] = {
    "command": "python -m benchmarks.memory_sweep",
    "date": "2001-02-03",
    "machine": {"processor": "Abacus"},
    "threads": 1,
    "versions": {},
    "plan": {},
}


def entry(size: int | None, **values: Any) -> dict[str, Any]:
    found = {"model": "sam" if size else "nn.LSTM", "memory_size": size, "path": None}
    found |= {"index": None, "full": False, "steps": 10, "batch_size": 8, "rounds": 3}
    found |= {"seconds_per_step": dict.fromkeys(("forward", "backward", "total"), SPREAD)}
    return found | ({"to_lstm": SPREAD} if size else {}) | values


def record(*entries: dict[str, Any], **values: Any) -> dict[str, Any]:
    return ORIGIN | {"rounds": 3, "entries": [*entries], "flat": {}, "stopped": []} | values


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With the part "fresh"."""
    write_part(tmp_path, "fresh", record(entry(8), entry(16), entry(None)), finished=True)
    return tmp_path


def test_parts_are_added_and_replaced_one_by_one(folder: Path) -> None:
    write_part(folder, "dense", record(entry(32)), finished=True)
    write_part(folder, "fresh", record(entry(64)), finished=True)
    sweep = Sweep(folder)
    assert sweep.names == ("fresh", "dense")
    assert [e["memory_size"] for e in sweep.entries("fresh")] == [64]
    assert [e["memory_size"] for e in sweep.entries("dense")] == [32]


def test_a_part_that_was_broken_off_replaces_nothing_and_is_not_lost(folder: Path) -> None:
    write_part(folder, "fresh", record(entry(4)), finished=False)
    assert [e["memory_size"] for e in Sweep(folder).entries("fresh")] == [8, 16, None]
    unfinished = json.loads((folder / FILE).read_text())["unfinished"]
    assert [e["memory_size"] for e in unfinished["fresh"]["entries"]] == [4]
    write_part(folder, "fresh", record(entry(4), entry(5)), finished=True)
    assert json.loads((folder / FILE).read_text())["unfinished"] == {}
    assert [e["memory_size"] for e in Sweep(folder).entries("fresh")] == [4, 5]


def test_entries_are_chosen_by_their_values(folder: Path) -> None:
    sweep = Sweep(folder)
    assert [e["memory_size"] for e in sweep.entries("fresh", model="sam")] == [8, 16]
    assert [*sweep.entries("fresh", model="sam", memory_size=7)] == []


def damaged(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    """Changes the first entry of the part."""

    def run(path: Path) -> None:
        content = json.loads(path.read_text())
        change(content["parts"]["fresh"])
        path.write_text(json.dumps(content))

    return run


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (Path.unlink, "expected the results of .*, found no such file"),
        (lambda path: path.write_text('{"parts": '), "expected JSON, .*remove it"),
        (lambda path: path.write_text("[1]"), "expected the sections parts .*, got list"),
        (lambda path: path.write_text('{"sam": []}'), "parts and unfinished, got sam"),
        (damaged(lambda part: part.pop("machine")), "'fresh': expected machine, got command"),
        (damaged(lambda part: part.pop("flat")), "expected flat, got .*--only fresh"),
        (damaged(lambda part: part["entries"].clear()), "expected entries, got none"),
        (damaged(lambda part: part["entries"].append(3)), "entry 3, expected an object, got int"),
        (
            damaged(lambda part: part["entries"][1].pop("to_lstm")),
            "entry 1, expected to_lstm, got model",
        ),
        (
            damaged(lambda part: part["entries"][0]["seconds_per_step"].pop("total")),
            "entry 0, seconds_per_step, expected total, got forward, backward",
        ),
        (
            damaged(lambda part: part["entries"][0]["seconds_per_step"]["total"].update(low="1")),
            "entry 0, total: expected numbers",
        ),
    ],
)
def test_damage_is_named(damage: Callable[[Path], object], message: str, folder: Path) -> None:
    damage(folder / FILE)
    with pytest.raises(ResultsError, match=message):
        Sweep(folder).part("fresh")


def test_a_part_that_is_missing_is_asked_for(folder: Path) -> None:
    with pytest.raises(ResultsError, match=r"'full': expected it .* got fresh; .* --only full"):
        Sweep(folder).part("full")


def test_a_file_of_something_else_is_not_overwritten(folder: Path) -> None:
    (folder / FILE).write_text('{"sam": []}')
    with pytest.raises(ResultsError, match="remove it"):
        write_part(folder, "fresh", record(entry(8)), finished=True)
    assert (folder / FILE).read_text() == '{"sam": []}'
