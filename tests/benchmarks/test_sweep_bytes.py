"""What SAM may keep, as the SAM paper and the README claim it."""

from dataclasses import replace
from typing import Any

import pytest

from benchmarks.bytes.footprint import peak_bytes, saved_bytes
from benchmarks.sweep.sweep_bytes import (
    PAPER_INITIAL_MIB,
    PAPER_RUNNING_MIB,
    fresh_state_bytes,
    peaks,
    sam_peak,
)
from benchmarks.sweep.sweep_case import Case, kept_per_step
from benchmarks.workload import PATHS, PathName, Workload

MIB = 2**20
SHORT, LONG = 40, 60  # between them the room for words does not double


@pytest.mark.parametrize("path", PATHS)
def test_bytes_kept_are_few_and_do_not_depend_on_the_memory_size(path: PathName) -> None:
    small, large = (
        kept_per_step(
            Case(model="sam", memory_size=2**n, path=path, index="exact"),
            Workload(),
            steps=(20, 30),
        )
        for n in (10, 30)
    )
    assert small == large
    # At least what each read returned, and the words it read.
    assert 4 * (4 * 32 + 4 * 4 * 32) < large <= 16_000
    assert large < PAPER_RUNNING_MIB * MIB / 100


@pytest.mark.parametrize("path", PATHS)
def test_nothing_is_kept_where_the_counter_does_not_look(path: PathName) -> None:
    """What lives after a forward pass grows no faster than what the counter saw."""
    grown = {}
    for steps in (SHORT, LONG):
        trained = replace(Workload(), steps=steps).sam(2**20, path)
        trained.loss()
        held: list = []
        saved = saved_bytes(trained.loss, apart_from=trained.model.parameters())
        peak = peak_bytes(lambda held=held, trained=trained: held.append(trained.loss()))
        grown[steps] = peak, saved
    peaks, saves = (long - short for long, short in zip(grown[LONG], grown[SHORT], strict=True))
    assert saves > 0
    # Beside it: the state of each step, h, c, r and w^R, until the output layer has run.
    states = 4 * (2 * 100 + 4 * 32 + 4 * 4) * 8 * (LONG - SHORT)
    assert 0.8 * saves < peaks < 1.1 * saves + states


def test_a_fresh_memory_of_2_to_the_30_words_is_small() -> None:
    large = fresh_state_bytes(Workload(), 2**30)
    assert large == fresh_state_bytes(Workload(), 2**10)
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


def test_every_path_has_its_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    def growth(module: str, *arguments: str) -> int:
        asked.append(arguments)
        return 7

    monkeypatch.setattr("benchmarks.sweep.sweep_bytes.resident_growth", growth)
    found = peaks(256, 5)
    assert [one["path"] for one in found] == [*PATHS]
    assert asked == [("256", "5", "1", path) for path in PATHS]
    for one in found:
        assert (one["memory_size"], one["steps"], one["resident_growth"]) == (256, 5, 7)
        assert one["peak"] > one["parameters"]
