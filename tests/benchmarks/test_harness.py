"""Turns, phases, spreads and ratios on a clock that the test turns by hand; files of results."""

import json
import os
import platform
import socket
from pathlib import Path

import pytest

from benchmarks.harness import (
    Lap,
    Spread,
    circumstances,
    machine,
    ratio,
    spread,
    take_turns,
    write_json,
)


class Clock:
    """Seconds that pass only when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_phases_are_timed_apart_and_turns_alternate() -> None:
    clock, order = Clock(), []

    def work(name: str, forward: float, backward: float) -> None:
        def run(lap: Lap) -> None:
            order.append(name)
            clock.now += forward
            lap("forward")
            clock.now += backward
            lap("backward")
            clock.now += 50.0  # after the last phase: in nobody's time

        things[name] = run

    things: dict = {}
    work("a", 1.0, 2.0)
    work("b", 4.0, 8.0)
    times = take_turns(things, rounds=3, warmup=1, clock=clock)
    assert times["a"] == {"forward": [1.0] * 3, "backward": [2.0] * 3, "total": [3.0] * 3}
    assert times["b"] == {"forward": [4.0] * 3, "backward": [8.0] * 3, "total": [12.0] * 3}
    assert "".join(order) == "ba" + "ab" + "ba" + "ab"


def test_a_phase_ended_twice_is_summed() -> None:
    clock = Clock()

    def run(lap: Lap) -> None:
        for seconds in (1.0, 2.0):
            clock.now += seconds
            lap("step")

    assert take_turns({"x": run}, rounds=1, warmup=0, clock=clock)["x"]["step"] == [3.0]


def test_ratio_is_steady_on_a_machine_that_slows_down() -> None:
    clock, speed = Clock(), [1.0]

    def run(seconds: float) -> object:
        def thing(lap: Lap) -> None:
            clock.now += seconds * speed[0]
            lap("all")

        return thing

    def slow_down(lap: Lap) -> None:
        speed[0] *= 2
        clock.now += 1.0
        lap("all")

    # Of each round's turns `slow_down` is the first or the last, so a and b see the same speed.
    things: dict = {"slow": slow_down, "a": run(3.0), "b": run(2.0)}
    times = take_turns(things, rounds=5, warmup=0, clock=clock)
    assert max(times["a"]["all"]) > 4 * min(times["a"]["all"])
    assert ratio(times["a"]["all"], times["b"]["all"]) == Spread(1.5, 1.5, 1.5)


def test_ratio_divides_round_by_round() -> None:
    assert ratio([2.0, 6.0, 20.0], [1.0, 2.0, 4.0]) == Spread(3.0, 2.0, 5.0)
    with pytest.raises(ValueError, match="expected those of 2 rounds"):
        ratio([1.0], [1.0, 2.0])


def test_spread_is_median_and_range() -> None:
    assert spread([5.0, 1.0, 2.0]) == Spread(2.0, 1.0, 5.0)
    with pytest.raises(ValueError, match="expected at least one"):
        spread([])


@pytest.mark.parametrize(
    ("thing", "rounds", "message"),
    [
        (lambda lap: None, 1, "expected phases"),
        (lambda lap: lap("total"), 1, "none of them named total"),
        (lambda lap: lap("a"), 0, "expected at least 1"),
    ],
)
def test_what_cannot_be_timed_is_refused(thing, rounds: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        take_turns({"x": thing}, rounds=rounds)


def test_a_command_tells_no_folders_of_a_machine(tmp_path: Path) -> None:
    found = circumstances("benchmarks.base_memory", ["--folder", str(tmp_path / "bases"), "--add"])
    assert found["command"] == "python -m benchmarks.base_memory --folder bases --add"


def test_circumstances_say_what_ran_but_not_where() -> None:
    found = circumstances("benchmarks.memory_sweep", ["--out", "a b"])
    assert found["command"] == "python -m benchmarks.memory_sweep --out 'a b'"
    assert found["threads"] == 1  # as tests/conftest.py sets it
    assert found["machine"]["cores"] == os.cpu_count()
    assert found["machine"]["memory_gib"] > 0
    text = json.dumps(machine())
    for name in (socket.gethostname(), platform.node()):
        assert name not in text


def test_results_are_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    write_json(path, {"a": Spread(2.0, 1.0, 3.0), "b": [{"c": Spread(0.0, 0.0, 0.0)}]})
    assert json.loads(path.read_text()) == {
        "a": {"median": 2.0, "low": 1.0, "high": 3.0},
        "b": [{"c": {"median": 0.0, "low": 0.0, "high": 0.0}}],
    }
    before = path.read_bytes()
    with pytest.raises(TypeError):
        write_json(path, {"a": 1, "b": object()})
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["x.json"]
