"""Cases take turns beside a loop of their own, and entries hold what was measured."""

from collections.abc import Iterable

import pytest

from benchmarks.harness import Lap, Spread
from benchmarks.sweep.sweep_case import (
    DENSE,
    FEWEST_ROUNDS,
    LOOP,
    LSTM,
    Case,
    flat,
    kept_per_step,
    sparse_cases,
    take,
)
from benchmarks.workload import PATHS, Trained, Workload
from sam import available_models

SMALL = Workload(batch_size=2, steps=4, hidden_size=10, num_heads=2, word_size=8)


def test_all_models_with_a_memory_are_measured() -> None:
    sparse = {case.model for case in sparse_cases(64)}
    assert {*DENSE, *sparse, "lstm"} == {*available_models()}
    for name in (*DENSE, *sparse):
        memory = Case(model=name, memory_size=64).trained(SMALL).model.cell.memory  # type: ignore[union-attr]
        assert (memory.memory_size, memory.word_size, memory.num_reads) == (64, 8, 2)


def test_sam_runs_in_every_way_with_the_first_index() -> None:
    cases = sparse_cases(64, indexes=("exact", "lsh"))
    sam = [(case.index, case.path) for case in cases if case.model == "sam"]
    assert sam == [*(("exact", path) for path in PATHS), ("lsh", PATHS[0])]
    sdnc = [Case(model="sdnc", memory_size=64, path=path, index="exact") for path in PATHS[:2]]
    assert cases[-2:] == sdnc
    model = cases[len(PATHS)].trained(SMALL).model
    assert model.initial_state(2).memory.index.config.kind == "lsh"


class Turns:
    """Stands in for the clock: each thing takes its own seconds."""

    def __init__(self, seconds: dict[str, float]) -> None:
        self.seconds, self.calls = seconds, []

    def __call__(self, things: dict, *, rounds: int, warmup: int = 1) -> dict:
        self.calls.append((rounds, warmup))
        self.names = [*things]
        times = {}
        for name, run in things.items():
            laps: list[str] = []
            run(laps.append)
            assert {*laps} == {"forward", "backward"}
            second = self.seconds[name] * len(laps) / 2
            parts = {"forward": second / 4, "backward": second * 3 / 4, "total": second}
            times[name] = {phase: [value] * rounds for phase, value in parts.items()}
        return times


def both(lap: Lap) -> None:
    lap("forward")
    lap("backward")


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    seconds = {f"{LOOP} 0": 1.0, f"{LOOP} 8": 2.0, f"{LOOP} 16": 4.0, f"{LOOP} 32": 8.0}
    seconds |= {"ntm 8": 6.0, "ntm 16": 24.0, "ntm 32": 96.0, f"{LSTM} None": 0.5}
    made = Turns(seconds)
    monkeypatch.setattr("benchmarks.sweep.sweep_case.take_turns", made)
    monkeypatch.setattr(Trained, "timed", lambda self, lap: both(lap))
    return made


def taken(sizes: Iterable[int | None], *, calls: int = 1, budget: float = 1e9):
    cases = [Case(model="ntm" if size else LSTM, memory_size=size) for size in sizes]
    lines: list[str] = []
    found = take(
        dict.fromkeys(cases, both),
        SMALL,
        rounds=7,
        budget=budget,
        report=lines.append,
        calls=calls,
    )
    return found, lines


def test_each_size_is_divided_by_its_own_loop(turns: Turns) -> None:
    found, lines = taken([None, 8, 16, 32])
    loop, *entries = found.entries
    assert loop["model"] == LOOP and loop["memory_size"] is None
    total = loop["seconds_per_step"]["total"]
    assert (total.low, total.high) == (1.0 / 4, 8.0 / 4)  # all turns of it, per step
    expected = {None: 0.5, 8: 3.0, 16: 6.0, 32: 12.0}
    ratios = {entry["memory_size"]: entry["to_lstm"] for entry in entries}
    assert ratios == {size: Spread(value, value, value) for size, value in expected.items()}
    for entry in entries:
        assert (entry["steps"], entry["batch_size"], entry["rounds"]) == (4, 2, 7)
        phases = {name: value.median for name, value in entry["seconds_per_step"].items()}
        assert phases["total"] == phases["forward"] + phases["backward"]
    assert turns.calls == [(1, 1), (7, 0)]
    # The largest is the neighbour of the smallest size.
    assert turns.names[:6:2] == [f"{LOOP} 0", f"{LOOP} 32", f"{LOOP} 8"]
    assert lines == ["8 turns a round, 141.5 s; 7 rounds: about 990 s"]
    assert flat(found) == {"ntm": {"sizes": [8, 32], "ratio": Spread(16.0, 16.0, 16.0)}}


def test_of_cases_pairs_each_with_its_own_entry(turns: Turns) -> None:
    found, _ = taken([None, 8, 16, 32])
    pairs = [(case.memory_size, entry["memory_size"]) for case, entry in found.of_cases()]
    assert len(pairs) == 4 and all(one == other for one, other in pairs)


def test_a_small_budget_means_fewer_rounds(turns: Turns) -> None:
    assert taken([8], budget=41.0)[0].rounds == 5  # 8 s each
    assert taken([8], budget=1.0)[0].rounds == FEWEST_ROUNDS
    assert turns.calls[-1] == (FEWEST_ROUNDS, 0)


def test_several_calls_make_a_turn_longer_and_a_step_not(turns: Turns) -> None:
    (one, many) = (taken([8], calls=calls)[0].entries[1] for calls in (1, 5))
    assert many["seconds_per_step"]["total"] == one["seconds_per_step"]["total"]
    assert turns.seconds["ntm 8"] / 4 == one["seconds_per_step"]["total"].median


@pytest.mark.parametrize("case", sparse_cases(64), ids=lambda case: case.line)
def test_sparse_models_keep_the_same_at_every_size(case: Case) -> None:
    large = Case(model=case.model, memory_size=2**30, path=case.path, index=case.index)
    assert kept_per_step(case, SMALL) == kept_per_step(large, SMALL) > 0


@pytest.mark.parametrize("name", DENSE)
def test_dense_models_keep_one_copy_of_the_words_and_the_weights(name: str) -> None:
    """And DNC its links; nothing else grows with N, and nothing with its square."""
    workload = Workload(batch_size=2, hidden_size=10)
    sizes = (512, 1024, 2048)
    kept = {n: kept_per_step(Case(model=name, memory_size=n), workload) / 4 for n in sizes}
    words = 32 * 512
    quadratic = (kept[2048] - 3 * kept[1024] + 2 * kept[512]) / 6  # per 512^2
    linear = kept[1024] - kept[512] - 3 * quadratic  # per 512
    assert quadratic == pytest.approx(512**2 if name == "dnc" else 0, rel=0.01, abs=10)
    # Words, and the weights of 4 heads that read and 4 (DNC: 1) that write, some of them twice.
    assert words < linear < words + 6 * 8 * 512
