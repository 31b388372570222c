"""Runs that are killed one to three times, by signals 9, 15 and 2, and then go on to their end.

A run is killed at a chosen moment (before or after a rename, a wait for the disk, a line of a log,
a word with another process, or halfway through the line) or at a random one. What it leaves must be
taken by a further call, and in the end its metrics are those of an unbroken run byte for byte, its
parameters bit for bit.

Every fifth run is one of two processes. One of them is killed or both are; what is left of them
must end by itself, in one line. Some of these runs go on with one process, which adds up in another
order: they end as the unbroken one up to the rounding of float32.

Every process is forked from this one, which has imported torch and has loaded the compiled forms.
"""

import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import distributed

from sam.cli import USER_ERROR
from sam.errors import ProcessesError
from sam.train.evaluate import evaluate
from sam.train.folder import load_run
from sam.train.interrupt import stop_on_signal
from sam.train.lock import run_lock
from sam.train.names import CONFIG, METRICS, SUMMARY
from sam.train.processes import ALONE, Processes, process_group
from sam.train.run import train_run
from sam.train.summary import write_results
from sam.train.train_config import RunConfig
from tests.attack.moments import counted, killed_at
from tests.attack.tiny_run import tiny_run
from tests.forks import ended, forked, load_data_parallel, meet

FULL = 300
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
# Seconds that a process waits for another one. One that is killed is missed at once, but for those
# that are killed before all have met.
_PATIENCE, _PATIENCE_OF_KILLED = 30, 3
_HARD = {"enabled": True, "start": 1, "threshold": 9.0, "min_hard": 1}
RUNS: list[dict[str, dict[str, Any]]] = [
    {"train": {"batch_size": 3}},  # shares of one row and of two
    {"curriculum": _HARD, "train": {"evaluate_every": 4}},
    {"index": {"kind": "lsh", "tables": 1}, "optimizer": {"name": "rmsprop"}},
    {"model": {"dropout": 0.2}},
]
# With dropout every number of processes is a run of its own, and an approximate index may find
# other words after a different rounding.
_ANY_NUMBER = (0, 1)


class Kill(NamedTuple):
    """When a process gets which signal."""

    number: signal.Signals
    moment: int | None  # which one of `tests.attack.moments`; None: after `delay`
    delay: float

    @property
    def name(self) -> str:
        where = "random moment" if self.moment is None else "chosen moment"
        return f"{self.number.name}, {where}"


class Result(NamedTuple):
    """What must not depend on how often a run was killed."""

    metrics: bytes
    parameters: dict[str, np.ndarray]
    update: int
    rest: Any


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` tries; counts the kills, the calls that ended before theirs came, the runs."""
    ended: Counter[str] = Counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked process has no threads of the first one
    try:
        with tempfile.TemporaryDirectory() as root:
            unbroken = cache(lambda run, number: Unbroken(run, number, Path(root)))
            for number in range(count):
                draw = random.Random(f"kills {seed} {number}")
                several = number % 5 == 4 and distributed.is_available()
                run = unbroken(draw.randrange(len(RUNS)), 2 if several else 1)
                ended.update(_try(run, Path(root) / f"try-{number}", draw, number))
    finally:
        torch.set_num_threads(threads)
    return dict(sorted(ended.items()))


class Unbroken:
    """A run that nobody kills, and what it takes."""

    def __init__(self, run: int, count: int, root: Path) -> None:
        self.config, self.count = tiny_run(**RUNS[run]), count
        self.any_number = run in _ANY_NUMBER
        folder = root / f"whole-{run}-{count}"
        # Loads what is compiled or imported, before anything is forked or timed.
        _train(self.config, Path(f"{folder}-first"))
        if count > 1:
            load_data_parallel()
        started = time.perf_counter()
        codes, _ = _call(self.config, folder, [None] * count)
        self.seconds = time.perf_counter() - started
        if any(codes):
            raise AssertionError(f"unbroken run: expected exit codes 0, got {codes}")
        self.result = _result(folder)
        self.moments = [int(_moments_of(folder, rank).read_text()) for rank in range(count)]

    def kill(self, rank: int, draw: random.Random) -> Kill:
        """A signal to a process. Early ones more often: what was killed has less left to do."""
        return Kill(
            draw.choice(SIGNALS),
            draw.choice((None, int(self.moments[rank] * draw.random() ** 2))),
            self.seconds * draw.random() ** 2,
        )


def _try(run: Unbroken, folder: Path, draw: random.Random, number: int) -> Counter[str]:
    ended: Counter[str] = Counter()
    for _ in range(draw.randint(1, 3)):
        # One of them, or all.
        hit = draw.choice([*({rank} for rank in range(run.count)), {*range(run.count)}])
        kills = [run.kill(rank, draw) if rank in hit else None for rank in range(run.count)]
        codes, told = _call(run.config, folder, kills)
        for code, kill in zip(codes, kills, strict=True):
            ended.update(_ending(code, kill, run.count, f"try {number}: {kills}, {codes}"))
        if len(told) != codes.count(USER_ERROR):
            raise AssertionError(f"try {number}: {codes}: expected a line for each 2, got {told}")
    count = draw.randint(1, 2) if run.any_number and run.count > 1 else run.count
    codes, told = _call(run.config, folder, [None] * count)
    if any(codes):
        raise AssertionError(f"try {number}: going on ended with codes {codes}, {told}")
    found = _result(folder)
    if not (_equal if count == run.count else _close)(found, run.result):
        raise AssertionError(f"try {number}: expected the unbroken run's result, got another")
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    if hidden:
        raise AssertionError(f"try {number}: expected no temporary file, got {hidden}")
    if run.count == 1:
        ended["one process: went on to the same bits"] += 1
    elif count == run.count:
        ended["two processes: went on to the same bits"] += 1
    else:
        ended["two processes, then one: went on to the same numbers"] += 1
    return ended


def _ending(code: int, kill: Kill | None, count: int, what: str) -> list[str]:
    """What to count a process's exit code as."""
    # Through before the signal came; or, where there are others, stopped or lost with them.
    allowed = {0} if count == 1 else {0, 128 + signal.SIGINT, USER_ERROR}
    if kill is not None:
        allowed |= {-kill.number, 128 + kill.number}  # killed, or stopped as asked
    if code not in allowed:
        raise AssertionError(f"{what}: expected an exit code of {sorted(allowed)}, got {code}")
    if kill is not None and code in (-kill.number, 128 + kill.number):
        return [kill.name]
    if code == 0:
        return [] if kill is None else ["ended before the signal"]
    return ["ended as another one was lost" if code == USER_ERROR else "stopped with another one"]


def _call(
    config: RunConfig, folder: Path, kills: Sequence[Kill | None]
) -> tuple[list[int], list[str]]:
    """Trains in as many processes; their exit codes, and the lines in which they told of errors."""
    with tempfile.TemporaryDirectory() as place:
        children = [
            forked(lambda rank=rank: _in_rank(rank, config, folder, kills, Path(place)))
            for rank in range(len(kills))
        ]
        waiting = [
            (kill.delay, child, kill.number)
            for kill, child in zip(kills, children, strict=True)
            if kill is not None and kill.moment is None
        ]
        started = time.perf_counter()
        for delay, child, number in sorted(waiting):
            time.sleep(max(0.0, started + delay - time.perf_counter()))
            os.kill(child, number)  # not yet waited for, so its number is still its own
        codes = [ended(child) for child in children]
        told = [path.read_text() for path in sorted(Path(place).glob("told-*"))]
    return codes, "".join(told).splitlines()


def _in_rank(
    rank: int, config: RunConfig, folder: Path, kills: Sequence[Kill | None], place: Path
) -> int:
    """What one of the processes does: the exit code."""
    kill, count = kills[rank], len(kills)
    if count > 1:
        meet(place / "meeting", rank, count, _PATIENCE_OF_KILLED if any(kills) else _PATIENCE)
    try:
        with process_group() as processes:
            if kill is None:
                with counted() as moments:
                    code = _train(config, folder, processes)
                _moments_of(folder, rank).write_text(str(moments[0]))
                return code
            with nullcontext() if kill.moment is None else killed_at(kill.moment, kill.number):
                return _train(config, folder, processes)
    except ProcessesError as error:
        (place / f"told-{rank}").write_text(f"{error}\n")
        return USER_ERROR


def _moments_of(folder: Path, rank: int) -> Path:
    return Path(f"{folder}-moments-{rank}")


def _train(config: RunConfig, folder: Path, processes: Processes = ALONE) -> int:
    """A call of the command line, without its words and figures: the exit code."""
    with stop_on_signal() as stop, run_lock(folder) if processes.is_first else nullcontext():
        resume = processes.broadcast((folder / CONFIG).exists())
        outcome = train_run(
            config,
            folder,
            resume=resume,
            should_stop=stop,
            processes=processes,
            lock=nullcontext(),
        )
        if outcome.stopped:
            return stop.exit_code
    if processes.is_first:
        with run_lock(folder):
            results = evaluate(outcome.model, config.task, levels=(1,), count=1, batch_size=1)
            write_results(config, folder, outcome, results)
    return 0


def _result(folder: Path) -> Result:
    _, model, progress = load_run(folder)
    if not (folder / SUMMARY).exists():
        raise AssertionError(f"{folder}: expected a summary of the run, got none")
    values = {name: value.numpy() for name, value in model.state_dict().items()}
    return Result((folder / METRICS).read_bytes(), values, progress.update, progress[1:])


def _equal(first: Result, second: Result) -> bool:
    ours, theirs = (
        {name: value.tobytes() for name, value in result.parameters.items()}
        for result in (first, second)
    )
    return ours == theirs and first._replace(parameters={}) == second._replace(parameters={})


def _close(first: Result, second: Result) -> bool:
    """Whether metrics are equal to 1e-3 of their size, and parameters to .001."""
    ours, theirs = (
        [json.loads(line) for line in result.metrics.splitlines()] for result in (first, second)
    )
    return (
        first.update == second.update
        and _alike(ours, theirs)
        and all(
            np.allclose(value, second.parameters[name], rtol=0, atol=1e-3)
            for name, value in first.parameters.items()
        )
    )


def _alike(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_alike(first[k], second[k]) for k in first)
    if isinstance(first, list):
        return len(first) == len(second) and all(map(_alike, first, second))
    if isinstance(first, float):
        return abs(first - second) <= 1e-3 * max(1.0, abs(second))
    return first == second
