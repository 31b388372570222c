"""All models beside each other, each as far as its limit; and SDNC beside DNC."""

from dataclasses import replace

import pytest

from benchmarks.harness import Spread
from benchmarks.sweep.model_sweep import all_models, sdnc_against_dnc
from benchmarks.sweep.sweep_case import DENSE, LOOP
from benchmarks.sweep.sweep_plan import Plan
from benchmarks.workload import Workload

SMALL = Workload(batch_size=2, steps=2, hidden_size=10, num_heads=2, word_size=8)
PLAN = Plan(workload=SMALL, dense_sizes=(16, 32, 64), dense_steps=3, rounds=1, budget=0.0)


def sizes_of(record: dict, model: str) -> list[int]:
    return [entry["memory_size"] for entry in record["entries"] if entry["model"] == model]


def test_every_model_is_measured_at_every_size_that_is_allowed() -> None:
    lines: list[str] = []
    *_, found = all_models(PLAN, lines.append)
    for name in DENSE:
        assert sizes_of(found, name) == [16, 32, 64]
    assert {*sizes_of(found, "sam")} == {*sizes_of(found, "sdnc")} == {16, 32, 64}
    assert sizes_of(found, LOOP) == [None] * 3
    assert found["stopped"] == []
    for entry in found["entries"]:
        assert entry["steps"] == 3
        if entry["memory_size"] is not None:
            assert entry["bytes_per_step"] > 0
            assert isinstance(entry["to_lstm"], Spread)
    assert any("N = 64: sam, sdnc, dam, ntm, dnc" in line for line in lines)


@pytest.mark.parametrize(
    ("seconds", "free", "quantity"), [(1e-9, 1e12, "seconds"), (1e9, 1.0, "bytes")]
)
def test_dense_models_stop_at_a_limit_and_sparse_ones_go_on(
    seconds: float, free: float, quantity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.sweep.model_sweep.free_bytes", lambda: free)
    lines: list[str] = []
    records = [*all_models(replace(PLAN, turn_seconds=seconds), lines.append)]
    assert len(records) == 3  # one a size, so that nothing is lost
    for name in DENSE:
        assert sizes_of(records[-1], name) == [16]
    assert {*sizes_of(records[-1], "sam")} == {16, 32, 64}
    stopped = {(one["line"], one["memory_size"]) for one in records[-1]["stopped"]}
    assert stopped == {(name, 32) for name in DENSE}
    assert all(quantity in one["why"] for one in records[-1]["stopped"])
    assert any(line.startswith("dnc stops before N = 32: expected") for line in lines)


def test_sdnc_is_compared_with_dnc() -> None:
    found = sdnc_against_dnc(SMALL, memory_size=256, rounds=1)
    assert found["smaller"] == found["peak_bytes"]["dnc"] / found["peak_bytes"]["sdnc"] > 1
    assert found["peak_bytes"]["dnc"] > 10 * 256**2 * 4  # the links of ten steps
    times = found["seconds_per_step"]
    assert found["faster"].median == pytest.approx(times["dnc"].median / times["sdnc"].median)
