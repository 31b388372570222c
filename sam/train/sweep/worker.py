"""A process of a sweep: it trains one run after another, and tells its parent how far it is.

It ends when its parent says so, with SIGTERM, or when its parent is gone; the run it was at is
saved then, and can be resumed.
"""

import signal
import time
from contextlib import nullcontext
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from sam.available import failed_allocation, limited_to_free_memory
from sam.errors import BackendMissingError, ProcessesError, StaleStateError
from sam.train.extras import import_extra
from sam.train.finish import evaluated, finish_run
from sam.train.interrupt import stop_on_signal
from sam.train.lock import run_lock
from sam.train.loop import Update
from sam.train.progress import Reporter
from sam.train.run import train_run
from sam.train.settings import resolve
from sam.train.sweep.costs import measure_cost
from sam.train.toml import parse_toml

_TOLD = 0.2  # seconds between two messages about progress
_EXPECTED = (ValueError, OSError, BackendMissingError, ProcessesError, StaleStateError)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is asked to do.

    Attributes:
        name: of the run.
        settings: all of them, as TOML.
        folder: of the run; for costs, the file to write.
        resume: whether the folder's run goes on.
        command: for the summary.
        cost_only: whether the step is measured, and nothing trained.
        full: whether the memory is full from the start, when only costs are measured.
    """

    name: str
    settings: str
    folder: str
    resume: bool
    command: str
    cost_only: bool
    full: bool


def work(connection: Connection, sharing: int) -> None:
    """Does the jobs that come, one by one, until None comes.

    Tells ``("begun", done, total)``, ``("at", update, window_error)`` and in the end, of each job,
    one of ``("finished", "")``, ``("stopped", "")`` and ``("failed", reason)``.

    Args:
        connection: to the parent.
        sharing: how many workers share the machine's memory.
    """
    # Ctrl-C reaches all processes of a terminal; the parent decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import_extra("matplotlib.figure")
    with limited_to_free_memory(sharing), stop_on_signal() as stop:
        talk = _Talk(connection, stop)
        while not talk.is_over() and (job := talk.receive()) is not None:
            talk.tell(*_result(job, talk))
            if talk.is_over():
                break


class _Talk(Reporter):
    """Reports to the parent; notes when it is gone."""

    def __init__(self, connection: Connection, stop: Any) -> None:
        self._connection, self._stop = connection, stop
        self._told, self._gone = 0.0, False

    def is_over(self) -> bool:
        """Whether to stop: the parent has said so, or is gone."""
        return self._gone or self._stop()

    def receive(self) -> Job | None:
        """The next job; None at the end."""
        while not self.is_over():
            try:
                if self._connection.poll(_TOLD):
                    return self._connection.recv()
            except (EOFError, OSError):
                return None
        return None

    def tell(self, *message: Any) -> None:
        """Sends a message, if there is still someone to read it."""
        try:
            self._connection.send(message)
        except OSError:
            self._gone = True

    def begin(self, done: int, total: int) -> None:
        """Training starts."""
        self.tell("begun", done, total)

    def updated(self, update: Update) -> None:
        """Tells of an update, a few times a second."""
        now = time.monotonic()
        if now - self._told >= _TOLD:
            self._told = now
            self.tell("at", update.number, update.window_error)


def _result(job: Job, talk: _Talk) -> tuple[str, str]:
    try:
        return _done(job, talk), ""
    except (*_EXPECTED, MemoryError, RuntimeError, OverflowError, TypeError) as error:
        text = failed_allocation(error) or f"{error}" or type(error).__name__
        if not isinstance(error, _EXPECTED) and failed_allocation(error) is None:
            text = f"{type(error).__name__}: {text}"
        return "failed", " ".join(text.split())


def _done(job: Job, talk: _Talk) -> str:
    config = resolve(parse_toml(job.settings, job.name), job.name)
    torch.set_num_threads(config.train.threads)
    folder = Path(job.folder)
    if job.cost_only:
        talk.begin(0, 1)
        measure_cost(config, folder, full=job.full)
        return "finished"
    with run_lock(folder):
        outcome = train_run(
            config,
            folder,
            resume=job.resume,
            reporter=talk,
            should_stop=talk.is_over,
            lock=nullcontext(),
        )
        if outcome.stopped:
            return "stopped"
        results = evaluated(config, outcome.model)
        finish_run(config, folder, outcome, results, command=job.command)
    return "finished"
