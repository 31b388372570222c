"""What `benchmarks.step` makes of the times: phases, ratios, shares, its file and its table."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from benchmarks.harness import Spread
from benchmarks.step import __main__ as step
from benchmarks.step.__main__ import LSTM, PARTS, main, measure, shares, step_table
from benchmarks.step.step_ops import Op, per_call, pure, timed
from benchmarks.workload import Workload

SMALL = Workload(batch_size=2, steps=6, hidden_size=10, num_heads=2, word_size=8)


def test_phases_are_taken_apart() -> None:
    seen: list[str] = []
    inputs: list[Tensor] = []

    def double(x: Tensor, slots: Tensor) -> tuple[Tensor, Tensor]:
        inputs.append(x)
        return 2 * x, slots

    given = torch.ones(3), torch.zeros(3, dtype=torch.int64)
    timed(pure(double, *given), 4, seen.append)
    assert seen == ["prepare", "forward", "prepare", "backward"]
    # Each call has inputs of its own, that share their numbers.
    assert len({id(x) for x in inputs}) == 4
    assert {x.data_ptr() for x in inputs} == {given[0].data_ptr()}
    assert all(x.grad is not None and x.grad.tolist() == [2.0] * 3 for x in inputs)

    seen.clear()
    timed(lambda calls: lambda: [given] * calls, 4, seen.append)
    assert seen == ["prepare", "forward"]


def test_seconds_are_those_of_one_call_without_its_preparation() -> None:
    phases = {"prepare": [9.0, 9.0], "forward": [4.0, 8.0], "backward": [2.0, 6.0]}
    assert per_call(phases | {"total": [15.0, 23.0]}, 2) == {
        "forward": [2.0, 4.0],
        "backward": [1.0, 3.0],
        "total": [3.0, 7.0],
    }
    assert per_call({"forward": [4.0], "prepare": [1.0]}, 4) == {"forward": [1.0], "total": [1.0]}


def test_ratios_are_to_the_loop_of_the_same_part(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(things: dict[str, Any], *, rounds: int) -> dict[str, dict[str, list[float]]]:
        assert [*things] == [
            f"{LSTM} a 8",
            "a x 8 uncompiled",
            "a x 8 plain",
            f"{LSTM} b 8",
            "b y 8 uncompiled",
        ]
        seconds = zip(things, (5.0, 6.0, 24.0, 15.0, 8.0), strict=True)
        times = {name: {"forward": [s] * rounds, "prepare": [99.0] * rounds} for name, s in seconds}
        for name in (f"{LSTM} a 8", f"{LSTM} b 8"):
            times[name] = {"forward": times[name]["forward"], "backward": [5.0] * rounds}
        return times

    def nothing(calls: int) -> Any:
        return lambda: None

    monkeypatch.setattr(step, "take_turns", turns)
    both = {"uncompiled": nothing, "plain": nothing}
    ops = [Op("a", "x", 8, 2, both), Op("b", "y", 8, 4, {"uncompiled": nothing})]
    found = measure(ops, SMALL, calls=5, rounds=2)
    x, y = found["ops"]
    # The loops take 2 and 4 seconds a step; x takes 3, its plain form 12, and y 2.
    assert x["forms"]["uncompiled"]["to_lstm"] == Spread(1.5, 1.5, 1.5)
    assert x["forms"]["plain"]["to_lstm"] == Spread(6.0, 6.0, 6.0)
    assert x["forms"]["plain"]["to_uncompiled"] == Spread(4.0, 4.0, 4.0)
    assert y["forms"]["uncompiled"] == {
        "seconds": {"forward": Spread(2.0, 2.0, 2.0), "total": Spread(2.0, 2.0, 2.0)},
        "to_lstm": Spread(0.5, 0.5, 0.5),
    }
    assert found["lstm_cell_loop"]["seconds"]["total"] == Spread(3.0, 2.0, 4.0)


def test_shares_take_the_search_off_the_access() -> None:
    def entry(part: str, name: str, total: float) -> dict[str, Any]:
        seconds = {"seconds": {"total": Spread(total, total, total)}}
        return {"part": part, "name": name, "forms": {"uncompiled": seconds}}

    parts = dict(zip(PARTS, (2.0, 0.5, 0.5, 3.0), strict=True))
    ops = [entry("SAM", name, total) for name, total in parts.items()]
    ops += [entry("SDNC", name, 99.0) for name in PARTS]
    ops += [entry("SAM", "sparse_access", 7.0), entry("cell", "sam", 20.0)]
    results = {"ops": ops, "lstm_cell_loop": {"seconds": {"total": Spread(4.0, 4.0, 4.0)}}}
    assert shares(results, "sam") == pytest.approx(
        {
            "controller": 0.2,
            "interface": 0.1,
            "order.lru_slots": 0.025,
            "order.record_access": 0.025,
            "index.exchange": 0.15,
            "sparse_access": 0.2,
            "rest": 0.3,
        }
    )


def test_script_writes_and_prints(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert step_table(tmp_path) == "Not measured yet: `python -m benchmarks.step`."
    monkeypatch.setattr(step, "QUICK_CALLS", 2)
    main(["--quick", "--rounds", "1", "--out", str(tmp_path)])
    assert [path.name for path in tmp_path.iterdir()] == ["step.json"]
    results = json.loads((tmp_path / "step.json").read_text())
    assert results["threads"] == results["rounds"] == 1
    assert results["setting"]["batch_size"] == 8 and "steps" not in results["setting"]
    assert {op["memory_size"] for op in results["ops"]} == {64, 2**20}
    assert (results["ops"][-1]["part"], results["ops"][-1]["calls"]) == ("network", 10)
    without = {op["name"] for op in results["ops"] if not has_backward(op["forms"]["uncompiled"])}
    assert without == {*PARTS[1:], "SparseLinks.update", "SparseLinks.follow"}
    for op in results["ops"]:
        for form in op["forms"].values():
            seconds = {phase: value["median"] for phase, value in form["seconds"].items()}
            total = seconds.pop("total")
            assert total == pytest.approx(sum(seconds.values())) and min(seconds.values()) > 0
            assert form["to_lstm"]["median"] > 0
    for name, parts in results["shares"].items():
        assert name in ("sam", "sdnc") and sum(parts.values()) == pytest.approx(1.0)
    printed = capsys.readouterr().out
    for part in (
        "| `sparse_access` | 2^20 |",
        "`nn.LSTMCell` loop",
        "An uncompiled step of `sdnc`:",
    ):
        assert part in printed
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(rows) == 3 + len(results["ops"])
    assert len({row.count("|") for row in rows}) == 1


def test_the_table_shows_all_forms_side_by_side(tmp_path: Path) -> None:
    def form(low: float, **others: float) -> dict[str, Any]:
        middle = {"median": 2 * low, "low": low, "high": 3 * low}
        seconds = {"forward": {"median": low}, "backward": {"median": 2 * low}, "total": middle}
        return {"seconds": seconds} | {name: {"median": value} for name, value in others.items()}

    compiled = form(1e-6, to_lstm=0.5, to_uncompiled=0.125)
    plain = form(3e-5, to_lstm=9.0, to_uncompiled=3.75)
    forms = {"uncompiled": form(8e-6, to_lstm=4.0), "plain": plain, "compiled": compiled}
    ops = [
        {"part": "a", "name": "x", "memory_size": 8, "forms": forms},
        {"part": "a", "name": "y", "memory_size": 16, "forms": {"uncompiled": forms["uncompiled"]}},
    ]
    results: dict[str, Any] = {"ops": ops, "shares": {}, "rounds": 3}
    results["lstm_cell_loop"] = {"calls": 5} | form(2e-6)
    results["setting"] = {"batch_size": 1, "num_heads": 1, "top_k": 1, "word_size": 1}
    machine = {"processor": "", "cores": 1, "memory_gib": 1}
    results |= {"machine": machine, "threads": 1, "versions": {"torch": ""}, "date": ""}
    (tmp_path / "step.json").write_text(json.dumps(results))
    rows = step_table(tmp_path).splitlines()[2:5]
    assert [[cell.strip() for cell in row.split("|")[2:-1]] for row in rows] == [
        ["`nn.LSTMCell` loop", "", "2 + 4", "4 (2 to 6)", "1", *[""] * 5],
        [
            *("`x`", "2^3", "8 + 16", "16 (8 to 24)", "4.00"),
            *("1 + 2", "2 (1 to 3)", "0.50", "0.12", "60 (3.75)"),
        ],
        ["`y`", "2^4", "8 + 16", "16 (8 to 24)", "4.00", *[""] * 5],
    ]


def has_backward(form: dict[str, Any]) -> bool:
    return "backward" in form["seconds"]
