"""What SAM may keep, as the SAM paper and the README claim it; and the script from end to end."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.footprint import peak_bytes, saved_bytes
from benchmarks.memory_sweep import (
    PAPER_INITIAL_MIB,
    PAPER_RUNNING_MIB,
    initial_state_bytes,
    main,
    sam_bytes_per_step,
    sam_peak,
)
from benchmarks.workload import Workload

MIB = 2**20
SHORT, LONG = 40, 60  # between them the room for words does not double


def test_bytes_kept_per_step_do_not_depend_on_the_memory_size() -> None:
    small, large = (sam_bytes_per_step(Workload(), 2**n, steps=(20, 40)) for n in (10, 30))
    assert small == large
    # At least what each read returned, and the words it read.
    assert 4 * (4 * 32 + 4 * 4 * 32) < large <= 16_000


def test_bytes_kept_are_fewer_than_the_paper_measured() -> None:
    kept = sam_bytes_per_step(Workload(batch_size=1), 2**16, steps=(20, 40))
    assert kept < PAPER_RUNNING_MIB * MIB / 100


def test_nothing_is_kept_where_the_counter_does_not_look() -> None:
    """What lives after a forward pass grows no faster than what the counter saw."""
    grown = {}
    for steps in (SHORT, LONG):
        trained = replace(Workload(), steps=steps).sam(2**20)
        held: list = []
        saved = saved_bytes(trained.loss, apart_from=trained.model.parameters())
        peak = peak_bytes(lambda held=held, trained=trained: held.append(trained.loss()))
        grown[steps] = peak, saved
    peaks, saves = (long - short for long, short in zip(grown[LONG], grown[SHORT], strict=True))
    assert saves > 0
    # Beside it: one more [h_t ; r_t] a step, until the output layer has run.
    features = 4 * (100 + 4 * 32) * 8 * (LONG - SHORT)
    assert peaks - features == pytest.approx(saves, rel=0.1)


def test_a_fresh_memory_of_2_to_the_30_words_is_small() -> None:
    large = initial_state_bytes(Workload(), 2**30)
    assert large == initial_state_bytes(Workload(), 2**10)
    assert 0 < large < 400_000


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """Measured once: it takes a process of its own."""
    return sam_peak()


def test_peak_of_a_training_step_is_below_the_papers(found: dict[str, Any]) -> None:
    assert (found["memory_size"], found["steps"], found["batch_size"]) == (2**16, 100, 1)
    assert found["initial_state"] < PAPER_INITIAL_MIB * MIB
    # Running and initial together are below what the paper took for running alone.
    assert found["peak"] < PAPER_RUNNING_MIB * MIB
    # The gradients of the parameters and what is kept for 100 steps are in it.
    assert found["peak"] > found["parameters"] + 100 * 4 * (4 * 32 + 4 * 4 * 32)
    if found["resident_growth"] is not None:
        # Blocks that the process had free already hide, and pages and Python's objects add.
        assert found["peak"] / 4 < found["resident_growth"] < found["peak"] + 32 * MIB


def test_the_loop_beside_it_is_as_wide() -> None:
    workload = Workload(steps=3)
    lstm, sam = workload.lstm_cell_loop(), workload.sam(64)
    theirs = {name: p.shape for name, p in lstm.model.named_parameters()}
    ours = {name: p.shape for name, p in sam.model.named_parameters()}
    assert theirs["0.weight_ih"] == ours["cell.controller.cell.weight_ih"] == (400, 8 + 128)
    assert theirs["1.weight"] == ours["output.weight"] == (8, 100 + 128)
    lstm.train()
    sam.train()
    for trained in (lstm, sam):
        assert all(p.grad is not None and p.grad.any() for p in trained.model.parameters())
    # The loop's outputs are those of torch's own layer on the same inputs.
    cell, output = lstm.model.children()
    layer = torch.nn.LSTM(136, 100)
    with torch.no_grad():
        for name, value in cell.named_parameters():
            getattr(layer, f"{name}_l0").copy_(value)
    reads = torch.zeros(3, 8, 128)
    hidden, _ = layer(torch.cat([workload.inputs(), reads], 2))
    torch.testing.assert_close(lstm.run(), output(torch.cat([hidden, reads], 2)))


def test_script_writes_results_figure_and_summary(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    found: dict[str, Any],
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.setattr("benchmarks.memory_sweep.sam_peak", lambda: found)
    main(["--quick", "--rounds", "1", "--only", "sam", "--out", str(tmp_path)])
    results = json.loads((tmp_path / "memory_sweep.json").read_text())
    assert [entry["memory_size"] for entry in results["sam"]] == [2**10, 2**20, 2**30]
    assert results["threads"] == 1
    assert results["setting"]["steps"] == 20
    for entry in (results["lstm_cell_loop"], *results["sam"]):
        phases = {name: value["median"] for name, value in entry["seconds_per_step"].items()}
        assert phases["forward"] > 0
        assert phases["backward"] > 0
    for entry in results["sam"]:  # one turn each; the loop has three, and a median does not add up
        phases = {name: value["median"] for name, value in entry["seconds_per_step"].items()}
        assert phases["total"] == pytest.approx(phases["forward"] + phases["backward"])
    assert results["peak"] == found
    assert len({entry["bytes_per_step"] for entry in results["sam"]}) == 1
    assert (tmp_path / "memory_sweep.png").read_bytes()[:4] == b"\x89PNG"
    printed = capsys.readouterr().out
    for part in ("LSTMCell loop", "2^10", "2^30", "MiB", "memory_sweep.json"):
        assert part in printed
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "memory_sweep.json",
        "memory_sweep.png",
    ]
