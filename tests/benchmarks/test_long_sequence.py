"""What is kept, counted by hand; and the script on sequences of some tens of steps."""

import json
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchmarks import long_sequence
from benchmarks.apart import in_new_process, resident
from benchmarks.footprint import saved_bytes
from benchmarks.kept import Kept, kept_by, kept_per_step
from benchmarks.long_sequence import kept, long_sequence_table, main, measure
from benchmarks.workload import Workload

SMALL = Workload(batch_size=2, steps=10, hidden_size=10, num_heads=2, word_size=8)


@pytest.fixture(autouse=True)
def no_collection(monkeypatch: pytest.MonkeyPatch) -> None:
    """Collecting the garbage of a whole test session takes long, and changes nothing here."""
    monkeypatch.setattr("gc.collect", lambda: 0)


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The script measures in this process; returns what it was asked to, kind and steps."""
    asked: list[tuple[str, int]] = []

    def run(function: Callable[..., Any], workload: Workload, steps: int, **named: Any) -> Any:
        asked.append((getattr(workload.index, "kind", ""), steps))
        return function(workload, steps, **named)

    monkeypatch.setattr(long_sequence, "in_new_process", run)
    monkeypatch.setattr(long_sequence, "QUICK_LENGTHS", (6, 12))
    monkeypatch.setattr(long_sequence, "QUICK_REFERENCE", 8)
    monkeypatch.setattr(long_sequence, "KEPT_STEPS", (5, 7))
    return asked


def test_storages_are_listed_once_with_all_that_keep_them() -> None:
    x, weight = torch.ones(3, 5), torch.ones(5, 7, requires_grad=True)
    # The product keeps x, tanh its result, and the square that result, whole though it sees a part.
    result = (x @ weight).tanh()[:2].square().sum()
    found = kept_by(result, 7, apart_from=[weight])
    seen = Kept(("Pow [2, T]", "Tanh [3, T]"), "float32", 1, 4 * 3 * 7)
    assert sorted(found) == [Kept(("Mm [3, 5]",), "float32", 1, 4 * 3 * 5), seen]
    assert kept_by(result, 7, apart_from=[weight, x]) == [seen]


def test_what_custom_functions_keep_is_listed() -> None:
    class Custom(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(torch.zeros(11, 8, dtype=torch.int64), None)
            return x * 2

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:  # type: ignore[override]
            return grad * 2

    result = Custom.apply(torch.ones(2, requires_grad=True)).sum()  # type: ignore[union-attr]
    assert kept_by(result, 4) == [Kept(("Custom [11, 2 T]",), "int64", 1, 8 * 11 * 8)]


def test_the_slope_of_an_unrolled_cell_by_hand() -> None:
    cell = nn.RNNCell(3, 4)

    def forward(steps: int) -> tuple[Tensor, Iterable[Tensor]]:
        hidden = torch.zeros(2, 4)  # once, whatever the length
        outputs = []
        for _ in range(steps):
            hidden = cell(torch.zeros(2, 3), hidden)
            outputs.append(hidden)
        return torch.stack(outputs).square().sum(), cell.parameters()

    assert kept_per_step(forward, batch_size=2, steps=(7, 11)) == [
        # A result is what tanh keeps, and what the next step's product does; the last has none.
        Kept(("Addmm [2, 4]", "Tanh [2, 4]"), "float32", 1 / 2, 4 * 4),
        Kept(("Pow [T, 2, 4]",), "float32", 0, 4 * 4),
        Kept(("Addmm [2, 3]",), "float32", 1 / 2, 4 * 3),
    ]
    with pytest.raises(ValueError, match="shorter length first"):
        kept_per_step(forward, batch_size=2, steps=(7, 7))


@pytest.mark.parametrize("name", ["sam", "sdnc", "ntm", "dnc"])
def test_nothing_that_is_kept_is_left_out(name: str) -> None:
    trained = SMALL.trained(name, 16)
    loss = trained.loss()
    found = kept_by(loss, SMALL.steps, apart_from=trained.model.parameters())
    del loss
    counted = saved_bytes(trained.loss, apart_from=trained.model.parameters())
    assert sum(one.bytes for one in found) == counted > 0


def test_what_a_step_of_sam_keeps_adds_up() -> None:
    found = kept(SMALL)
    pieces = found["pieces"]
    assert sum(piece["bytes"] for piece in pieces) == pytest.approx(found["bytes_per_step"])
    sizes = [piece["bytes"] for piece in pieces]
    assert sizes == sorted(sizes, reverse=True) and min(sizes) > 0
    # The words that each head reads: H K W floats, of the whole batch in one storage.
    (words,) = (piece for piece in pieces if any("[2, 2, 4, 8]" in s for s in piece["saved_by"]))
    assert (words["bytes"], words["storages"]) == (4 * 2 * 4 * 8, 1 / 2)


def test_a_sequence_is_timed_beside_another() -> None:
    found = measure(SMALL, 12, reference=6, rounds=3)
    assert (found["steps"], found["reference_steps"], found["rounds"]) == (12, 6, 3)
    phases = found["seconds_per_step"]
    assert {*phases} == {"forward", "backward", "total"}
    for seconds in (*phases.values(), found["to_reference"]):
        assert 0 < seconds.low <= seconds.median <= seconds.high
    assert (found["resident"] is None) == (sys.platform != "linux")


def test_time_per_step_is_compared_not_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    def turns(things: dict[str, Any], *, rounds: int, warmup: int) -> Any:
        assert [*things] == ["sequence", "reference"] and warmup == 0
        things["sequence"](lambda phase: None)
        both = {"forward": [2.0], "backward": [4.0], "prepare": [100.0]}
        return {"sequence": both, "reference": {"forward": [1.0], "backward": [1.0]}}

    monkeypatch.setattr(long_sequence, "take_turns", turns)
    found = measure(SMALL, 12, reference=6, rounds=1)
    assert found["seconds_per_step"]["total"].median == pytest.approx(6 / 12)
    assert found["to_reference"].median == pytest.approx((6 / 12) / (2 / 6))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_resident_set_counts_what_was_there_before() -> None:
    found = resident(lambda: torch.ones(16 * 2**20))  # 64 MiB, touched
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
    found = in_new_process(measure, SMALL, 4, reference=3, rounds=1)
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
    assert (results["threads"], results["setting"]["memory_size"]) == (1, 2**20)
    assert results["setting"]["batch_size"] == 1
    for sequence in results["sequences"]:
        assert sequence["reference_steps"] == results["reference_steps"] == 8
        phases = {name: value["median"] for name, value in sequence["seconds_per_step"].items()}
        assert phases["total"] == pytest.approx(phases["forward"] + phases["backward"])
    pieces = results["kept"]["pieces"]
    assert sum(piece["bytes"] for piece in pieces) == pytest.approx(
        results["kept"]["bytes_per_step"]
    )
    printed = capsys.readouterr().out
    for part in ("exact, 6 steps", "| `ivf` | 12 |", "| to 8 steps |", "8,000 bytes", "16 GiB"):
        assert part in printed
    first, second = long_sequence_table(tmp_path).split("\n\n")[:2]
    for table, rows in ((first, 4), (second, len(pieces) + 1)):
        lines = table.splitlines()
        assert len(lines) == 2 + rows
        assert len({line.count("|") for line in lines}) == 1


def test_exact_search_stops_early_unless_it_is_asked_for(
    here: list[tuple[str, int]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(long_sequence, "EXACT_UP_TO", 10)
    main(["--quick", "--out", str(tmp_path)])
    assert here == [("exact", 6), ("ivf", 6), ("ivf", 12)]
    assert "exact: no more than 10 steps" in capsys.readouterr().out
    here.clear()
    main(["--quick", "--out", str(tmp_path), "--index", "exact"])
    assert here == [("exact", 6), ("exact", 12)]


def test_long_sequences_have_one_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, here: list[tuple[str, int]]
) -> None:
    turns: dict[int, int] = {}

    def asked(function: Any, workload: Workload, steps: int, *, rounds: int, **named: Any) -> Any:
        turns[steps] = rounds
        return function(SMALL, 3, rounds=1, **named | {"reference": 2})

    monkeypatch.setattr(long_sequence, "in_new_process", asked)
    monkeypatch.setattr(long_sequence, "RESULTS", tmp_path)
    assert main(["--longest", "--rounds", "4", "--index", "ivf"]) == 0
    assert turns == {10**3: 4, 10**4: 4, 10**5: 1, 10**6: 1}


@pytest.mark.parametrize(("index", "text"), [("aardvark", "exact"), ("exact[probes=2]", "probes")])
def test_a_wrong_index_is_told_in_one_line(
    index: str, text: str, here: list[tuple[str, int]], tmp_path: Path, capsys
) -> None:
    assert main(["--quick", "--index", "exact", index, "--out", str(tmp_path)]) == 1
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
