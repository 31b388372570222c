"""Runs that are killed one to three times, by signals 9, 15 and 2, and then go on to their end.

A run is killed at a chosen moment (before or after a rename, a wait for the disk, a line of a log,
or halfway through the line) or at a random one. What it leaves must be taken by a further call,
and in the end its metrics are those of an unbroken run byte for byte, its parameters bit for bit.

Every process is forked from this one, which has imported torch and has loaded the compiled twins.
"""

import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch

from sam.train.config import RunConfig
from sam.train.evaluate import evaluate
from sam.train.folder import load_run
from sam.train.interrupt import stop_on_signal
from sam.train.lock import run_lock
from sam.train.loggers import JsonLines
from sam.train.names import CONFIG, METRICS, SUMMARY
from sam.train.run import train_held
from sam.train.summary import write_results
from tests.attack.tiny_run import tiny_run

FULL = 300
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
_LONGEST = 60  # seconds of a call; one that hangs is ended, and the try fails


class Kill(NamedTuple):
    """When a process gets which signal."""

    number: signal.Signals
    moment: int | None  # which of the moments below; None: after `delay`
    delay: float

    @property
    def name(self) -> str:
        where = "random moment" if self.moment is None else "chosen moment"
        return f"{self.number.name}, {where}"


def attack(count: int, seed: int) -> dict[str, int]:
    """Makes `count` tries; counts the kills, and the calls that ended before theirs came."""
    ended: Counter[str] = Counter()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # a forked process has no threads of the first one
    try:
        with tempfile.TemporaryDirectory() as root:
            runs = [Unbroken(config, Path(root) / f"whole-{i}") for i, config in enumerate(_runs())]
            for number in range(count):
                draw = random.Random(f"kills {seed} {number}")
                folder = Path(root) / f"try-{number}"
                ended.update(_try(draw.choice(runs), folder, draw, number))
    finally:
        torch.set_num_threads(threads)
    return dict(sorted(ended.items()))


def _runs() -> list[RunConfig]:
    hard = {"enabled": True, "start": 1, "threshold": 9.0, "min_hard": 1}
    return [
        tiny_run(),
        tiny_run(curriculum=hard, train={"evaluate_every": 4}),
        tiny_run(index={"kind": "lsh", "tables": 1}, optimizer={"name": "rmsprop"}),
        tiny_run(model={"dropout": 0.2}),
    ]


class Unbroken:
    """A run that nobody kills, and what it takes."""

    def __init__(self, config: RunConfig, folder: Path) -> None:
        self.config = config
        _train(config, folder)  # loads what is compiled, before anything is forked or timed
        self.result = _result(folder)
        moments = Path(f"{folder}-moments")
        started = time.perf_counter()
        code = _fork(lambda: _counted(config, Path(f"{folder}-again"), moments))
        self.seconds = time.perf_counter() - started
        if code != 0:
            raise AssertionError(f"unbroken run: expected exit code 0, got {code}")
        self.moments = int(moments.read_text())


def _try(run: Unbroken, folder: Path, draw: random.Random, number: int) -> Counter[str]:
    ended: Counter[str] = Counter()
    for _ in range(draw.randint(1, 3)):
        kill = Kill(
            draw.choice(SIGNALS),
            # Early ones more often: what has been killed before has less left to do.
            draw.choice((None, int(run.moments * draw.random() ** 2))),
            run.seconds * draw.random() ** 2,
        )
        code = _fork(lambda kill=kill: _killed(run.config, folder, kill), kill)
        # Killed, stopped as asked, or through before the signal came.
        if code not in (0, -kill.number, 128 + kill.number):
            raise AssertionError(f"try {number}: {kill} ended with code {code} in {folder}")
        ended[kill.name if code else "ended before the signal"] += 1
    code = _fork(lambda: _train(run.config, folder))
    if code != 0:
        raise AssertionError(f"try {number}: going on ended with code {code}")
    if _result(folder) != run.result:
        raise AssertionError(f"try {number}: expected the unbroken run's result, got another")
    hidden = [path.name for path in folder.iterdir() if path.name.startswith(".")]
    if hidden:
        raise AssertionError(f"try {number}: expected no temporary file, got {hidden}")
    ended["runs that went on to the same end"] += 1
    return ended


def _train(config: RunConfig, folder: Path) -> int:
    """A call of the command line, without its words and figures: the exit code."""
    with stop_on_signal() as stop, run_lock(folder):
        resume = (folder / CONFIG).exists()
        outcome = train_held(config, folder, resume=resume, should_stop=stop)
        if outcome.stopped:
            return stop.exit_code
    with run_lock(folder):
        results = evaluate(outcome.model, config.task, levels=(1,), count=1, batch_size=1)
        write_results(config, folder, outcome, results)
    return 0


def _result(folder: Path) -> Any:
    """What must not depend on how often a run was killed."""
    _, model, progress = load_run(folder)
    if not (folder / SUMMARY).exists():
        raise AssertionError(f"{folder}: expected a summary of the run, got none")
    values = {name: value.numpy().tobytes() for name, value in model.state_dict().items()}
    return (folder / METRICS).read_bytes(), values, progress


def _fork(act: Callable[[], int], kill: Kill | None = None) -> int:
    """Exit code of a forked process that does this; negative for the signal that ended it."""
    child = os.fork()
    if not child:
        code = 99
        try:
            # However this process was started: one in the background may ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.alarm(_LONGEST)
            code = act()
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    if kill is not None and kill.moment is None:
        time.sleep(kill.delay)
        os.kill(child, kill.number)  # not yet waited for, so its number is still its own
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def _killed(config: RunConfig, folder: Path, kill: Kill) -> int:
    if kill.moment is None:
        return _train(config, folder)
    left = kill.moment

    def reached() -> bool:
        nonlocal left
        left -= 1
        return left == -1

    with _moments(reached, kill.number):
        return _train(config, folder)


def _counted(config: RunConfig, folder: Path, path: Path) -> int:
    count = 0

    def reached() -> bool:
        nonlocal count
        count += 1
        return False

    with _moments(reached, signal.SIGKILL):
        code = _train(config, folder)
    path.write_text(str(count))
    return code


@contextmanager
def _moments(reached: Callable[[], bool], number: signal.Signals) -> Iterator[None]:
    """Asks before and after everything that a run does to its files whether the time has come."""

    def moment() -> None:
        if reached():
            os.kill(os.getpid(), number)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            moment()
            result = function(*args, **options)
            moment()
            return result

        return wrapped

    def log(lines: Any, record: dict[str, Any]) -> None:
        moment()
        if number == signal.SIGKILL and reached():
            lines._file.write(b'{"update": 1, "los')  # half of a line
            lines._file.flush()
            os.kill(os.getpid(), number)
        whole(lines, record)
        moment()

    whole = JsonLines.log
    before = {name: getattr(os, name) for name in ("replace", "fsync", "open")}
    try:
        JsonLines.log = log
        for name, function in before.items():
            setattr(os, name, around(function))
        yield
    finally:
        JsonLines.log = whole
        for name, function in before.items():
            setattr(os, name, function)
