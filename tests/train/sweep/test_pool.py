"""The processes of a sweep: one that dies fails its job alone, and a signal stops all cleanly."""

import io
import os
import signal
from pathlib import Path

import pytest

from sam.train import train_run
from sam.train.lines import read_json_lines
from sam.train.settings import to_tables
from sam.train.sweep.display import Bars, Display
from sam.train.sweep.pool import Ended, run_jobs
from sam.train.sweep.worker import Job
from sam.train.toml import to_toml

pytest.importorskip("matplotlib")


class Watching(Display):
    """Says how far a run is."""

    def __init__(self) -> None:
        super().__init__(io.StringIO(), 3, 0)
        self.updates: dict[str, int] = {}

    def at(self, name: str, update: int, error: float) -> None:
        self.updates[name] = update


def job(config: object, folder: Path) -> Job:
    return Job(
        name=folder.name,
        settings=to_toml(to_tables(config)),  # type: ignore[arg-type]
        folder=str(folder),
        resume=False,
        command="",
        cost_only=False,
        full=False,
    )


@pytest.mark.timeout(240)
def test_a_killed_process_and_a_stop(tiny, tmp_path: Path) -> None:
    endless = {"max_updates": 10**9, "checkpoint_every": 10**9}
    killed, stopped = tmp_path / "killed", tmp_path / "stopped"
    jobs = [job(tiny(train=endless), killed), job(tiny(train=endless | {"seed": 1}), stopped)]
    jobs += [job(tiny(train=endless), tmp_path / "waiting")]
    display, results = Watching(), []

    def should_stop() -> bool:
        """Kills the first run's process once it trains; stops once the second one does."""
        if killed.name in display.updates and not results:
            for pid in children():
                os.kill(pid, signal.SIGKILL)
        return bool(results) and display.updates.get(stopped.name, 0) > 0

    run_jobs(jobs, processes=1, display=display, should_stop=should_stop, ended=results.append)
    assert results[0].how == "failed" and "SIGKILL" in results[0].reason
    assert results[1:] == [Ended("stopped", "stopped")]
    assert not (tmp_path / "waiting").exists()
    # What was stopped has been saved with all of its updates, and goes on from there.
    lines = read_json_lines(stopped / "metrics.jsonl")
    assert [line["update"] for line in lines] == [*range(1, len(lines) + 1)] and lines
    longer = tiny(train=endless | {"seed": 1, "max_updates": len(lines) + 3})
    assert train_run(longer, stopped, resume=True).progress.update == len(lines) + 3


def children() -> list[int]:
    """Processes that spawned ones of this one run in."""
    import multiprocessing

    return [process.pid for process in multiprocessing.active_children() if process.pid]


def test_bars_show_all_runs() -> None:
    pytest.importorskip("rich")
    stream = io.StringIO()
    with Bars(stream, 3, 1) as bars:
        bars.started("a" * 50)
        bars.begun("a" * 50, 2, 10)
        bars.at("a" * 50, 5, 0.25)
        bars.ended("a" * 50, "solved")
        bars.ended("never started", "failed")
    assert "[2/3] aaa" in stream.getvalue() and "[3/3] never started: failed" in stream.getvalue()
