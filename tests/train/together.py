"""What each of two processes does in `test_processes`."""

import dataclasses
import os
import signal
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import distributed

from sam.errors import CheckpointError, ConfigError, ProcessesError
from sam.tasks.task import Batch
from sam.train.folder import build_model
from sam.train.loop import Update, first_progress, updates
from sam.train.optimizer import make_optimizer
from sam.train.processes import ALONE, Processes
from sam.train.progress import Reporter
from sam.train.run import train_run
from sam.train.settings import resolve
from sam.train.train_config import RunConfig

Tables = dict[str, dict[str, Any]]
Found = tuple[list[dict[str, Any]], dict[str, torch.Tensor]]


class Wide:
    """A task whose batches are float64."""

    def __init__(self, task: Any) -> None:
        self._task = task

    def __getattr__(self, name: str) -> Any:
        return getattr(self._task, name)

    def sample(self, *arguments: Any, **options: Any) -> Batch:
        batch = self._task.sample(*arguments, **options)
        return batch._replace(inputs=batch.inputs.double(), targets=batch.targets.double())


class Act(Reporter):
    """Does something after one of the updates."""

    def __init__(self, update: int, act: Callable[[], None]) -> None:
        self._update, self._act = update, act

    def updated(self, update: Update) -> None:
        if update.number == self._update:
            self._act()


class Broken(BaseException):
    """Ends a run without giving it a chance to save."""


def fail() -> None:
    raise Broken


def here() -> Processes:
    return Processes(distributed.get_rank(), distributed.get_world_size())


def train_wide(config: RunConfig, processes: Processes = ALONE) -> Found:
    """All updates in float64: their records, and the parameters after them."""
    model = build_model(config).double()
    optimizer = make_optimizer(config.optimizer, model)
    config = dataclasses.replace(config, task=Wide(config.task))
    together = processes.wrapped(model)
    done = updates(together, optimizer, config, first_progress(config), processes)
    return [update.record() for update in done], model.state_dict()


def train_all_wide(configs: dict[str, Tables], folder: Path) -> None:
    for name, tables in configs.items():
        found = train_wide(resolve(tables, name), here())
        torch.save(found, folder / f"{name}-{distributed.get_rank()}.pt")


def train_runs(tables: Tables, folder: Path) -> None:
    """Runs that two processes begin, break off, or go on with."""
    processes, config = here(), resolve(tables, "tiny")
    whole = train_run(config, folder / "whole", processes=processes)
    assert whole.progress.update == 12 and not whole.stopped

    try:
        train_run(config, folder / "broken", processes=processes, reporter=Act(7, fail))
    except Broken:
        train_run(config, folder / "broken", processes=processes, resume=True)

    asked = iter([False] * 6 + [not processes.is_first])  # by a signal to the other one only
    outcome = train_run(
        config, folder / "stopped", processes=processes, should_stop=lambda: next(asked)
    )
    assert outcome.stopped and outcome.progress.update == 7

    train_run(config, folder / "begun-by-one", processes=processes, resume=True)

    other = tables | {"optimizer": {"lr": 0.5 + processes.rank}}
    _refused("settings and checkpoint", other, folder / "unlike", processes)
    small = tables | {"train": tables["train"] | {"batch_size": 1}}
    _refused("train.batch_size", small, folder / "small", processes)


def train_carried(tables: Tables, folder: Path) -> None:
    """A run with a carried state and averaged parameters; another is broken off and goes on."""
    processes, config = here(), resolve(tables, "tiny")
    train_run(config, folder / "whole", processes=processes)
    try:
        train_run(config, folder / "broken", processes=processes, reporter=Act(7, fail))
    except Broken:
        train_run(config, folder / "broken", processes=processes, resume=True)
    try:
        train_run(config, folder / "whole", resume=True, lock=nullcontext())
    except CheckpointError as error:
        assert "resume with as many" in str(error)
    else:
        raise AssertionError("expected a refusal of one process")


def _refused(text: str, tables: Tables, folder: Path, processes: Processes) -> None:
    try:
        train_run(resolve(tables, "tiny"), folder, processes=processes)
    except ConfigError as error:
        assert text in str(error)
    else:
        raise AssertionError(f"expected a refusal of {text}")


def lose_the_other(tables: Tables, folder: Path) -> None:
    """The second process is killed after update 7; the first one leaves what it was told."""
    processes = here()
    reporter = Act(7, lambda: processes.is_first or os.kill(os.getpid(), signal.SIGKILL))
    try:
        train_run(resolve(tables, "tiny"), folder / "lost", processes=processes, reporter=reporter)
    except ProcessesError as error:
        (folder / "told").write_text(str(error))
