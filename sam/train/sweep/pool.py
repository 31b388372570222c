"""The processes of a sweep, and the jobs that they are given."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any, NamedTuple

from sam.train.sweep.display import Display
from sam.train.sweep.worker import Job, work

_TURN = 0.2  # seconds after which it is asked again whether to stop
_PATIENCE = 60.0  # seconds that a process has to save its run


class Ended(NamedTuple):
    """How a job ended."""

    name: str
    how: str  # "finished", "failed" or "stopped"
    reason: str = ""


class _Worker:
    """A process, and the job that it is at."""

    def __init__(self, context: Any, sharing: int) -> None:
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=work, args=(theirs, sharing), daemon=True)
        self.process.start()
        theirs.close()  # so that the end of the process is the end of the pipe
        self.job: Job | None = None

    def give(self, job: Job) -> None:
        self.job = job
        with suppress(OSError):  # it has just died, as is heard next
            self.connection.send(job)

    def end(self) -> None:
        """Waits for the process to end by itself, and ends it after a minute."""
        self.process.join(_PATIENCE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.connection.close()


def run_jobs(
    jobs: Iterable[Job],
    *,
    processes: int,
    display: Display,
    should_stop: Callable[[], bool],
    ended: Callable[[Ended], None],
) -> None:
    """Does jobs in several processes, each of which does one after another.

    A process that dies fails its job alone; another one takes its place.

    Args:
        jobs: in the order in which they begin.
        processes: how many at a time.
        display: is told what happens.
        should_stop: asked several times a second; once it says so, runs are saved and stopped.
        ended: called with each job that has ended.
    """
    waiting = deque(jobs)
    # A fresh interpreter: a fork of a process with threads of torch may never answer.
    context = multiprocessing.get_context("spawn")
    processes = min(processes, len(waiting))
    workers: list[_Worker] = []
    stopping = False
    try:
        while waiting or any(worker.job for worker in workers):
            if should_stop() and not stopping:
                stopping = True
                waiting.clear()
                display.say("stopping: runs are being saved")
                for worker in workers:
                    worker.process.terminate()
            while waiting and len(workers) < processes:
                workers.append(_Worker(context, processes))
            for worker in workers:
                if worker.job is None and waiting:
                    job = waiting.popleft()
                    worker.give(job)
                    display.started(job.name)
            ready = wait([worker.connection for worker in workers], _TURN)
            for worker in [one for one in workers if one.connection in ready]:
                if (result := _heard(worker, display)) is not None:
                    # It may not yet have been ready to be told.
                    told = stopping and worker.process.exitcode == -signal.SIGTERM
                    ended(Ended(result.name, "stopped") if told else result)
                if worker.connection.closed:
                    workers.remove(worker)
    finally:
        for worker in workers:
            if worker.job is None:
                with suppress(OSError):
                    worker.connection.send(None)
            else:
                worker.process.terminate()
        for worker in workers:
            worker.end()


def _heard(worker: _Worker, display: Display) -> Ended | None:
    """Takes a message; a result if the job has ended with it."""
    job = worker.job
    try:
        kind, *content = worker.connection.recv()
    except (EOFError, OSError):
        worker.job = None
        worker.process.join()
        worker.connection.close()
        return None if job is None else Ended(job.name, "failed", _death(worker.process.exitcode))
    if job is None:
        return None
    if kind == "begun":
        display.begun(job.name, *content)
    elif kind == "at":
        display.at(job.name, *content)
    else:
        worker.job = None
        return Ended(job.name, kind, *content)
    return None


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        more = ", as the system does when memory runs out" if name == "SIGKILL" else ""
        return f"its process was ended by {name}{more}"
    return f"its process ended with code {exit_code}"
