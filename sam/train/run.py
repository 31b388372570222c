"""A run in its folder: build, train, save, resume. `sam.train.names` lists the files."""

import dataclasses
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

import torch
from torch import nn

from sam.errors import DivergedError, ProcessesError
from sam.train.checkpoint import restore
from sam.train.evaluate import evaluate
from sam.train.folder import build_model, check_new, check_run, has_begun, load_checkpoint_of
from sam.train.lock import run_lock
from sam.train.loggers import check_loggers
from sam.train.loop import Progress, first_progress, updates
from sam.train.names import CHECKPOINT, check_places
from sam.train.optimizer import make_optimizer
from sam.train.processes import ALONE, Processes
from sam.train.progress import Reporter
from sam.train.recorder import Recorder, Unrecorded
from sam.train.settings import to_tables
from sam.train.train_config import RunConfig


class Outcome(NamedTuple):
    """How a call of `train_run` ended."""

    model: nn.Module
    progress: Progress
    seconds: float  # time spent on the run, earlier calls included
    stopped: bool  # by `should_stop`, before the end

    @property
    def window_error(self) -> float | None:
        """Mean error of the last updates; None before the first, or right after a harder level."""
        errors = self.progress.errors
        return fmean(errors) if errors else None


def train_run(
    config: RunConfig,
    folder: Path,
    *,
    resume: bool = False,
    reporter: Reporter | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    processes: Processes = ALONE,
    lock: AbstractContextManager[object] | None = None,
) -> Outcome:
    """Trains in a run folder, from the start or from the folder's checkpoint.

    Args:
        config: the settings. On resuming they may differ from the folder's in
            `train.max_updates` and `train.stop_below` only.
        folder: where to write; new or empty, unless `resume`.
        reporter: is called with every update; the caller enters it.
        resume: continue the run in the folder.
        should_stop: called after every update; True, in any process, saves and ends the call.
        processes: those that train together and all call this; the first one writes.
        lock: held while this works, in place of the folder's own, which the caller may hold.

    Returns:
        The trained model, and how the call ended. The checkpoint is of its last update.

    Raises:
        RunInUseError: another process trains in the folder.
        ConfigError: the folder is not empty, or a setting is refused.
        CheckpointError: the folder's checkpoint is missing, damaged or of other settings.
        DivergedError: loss, gradient or parameters became NaN, infinite or too large; the last
            checkpoint is kept. The files of a new run that ends before its first update are
            removed, whatever ended it.
        ProcessesError: another process is lost; what has been trained is saved.
        OSError: something cannot be read or written.
    """
    (check_run if resume else check_new)(folder)
    held = run_lock(folder) if processes.is_first else nullcontext()
    with held if lock is None else lock:
        return _train(config, folder, resume, reporter or Reporter(), should_stop, processes)


def _train(
    config: RunConfig,
    folder: Path,
    resume: bool,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    processes: Processes,
) -> Outcome:
    """What `train_run` does in a folder whose lock the first process holds."""
    if not resume:
        check_new(folder)
    model = build_model(config)
    optimizer = make_optimizer(config.optimizer, model)
    checkpoint, progress = None, first_progress(config)
    if resume and has_begun(folder):
        checkpoint = load_checkpoint_of(folder, config)
        restore(checkpoint, folder / CHECKPOINT, model, optimizer)
        progress = checkpoint.progress
    processes.rows(config.train.batch_size)
    _check_before_writing(config, model)
    check_places(folder)
    processes.check_equal("settings and checkpoint", (to_tables(config), progress))
    wrapped = processes.wrapped(model)
    recorder = (
        Recorder(config, folder, model, optimizer, checkpoint)
        if processes.is_first
        else Unrecorded()
    )
    stopped, begun = False, resume
    try:
        recorder.save(progress)
        reporter.say(
            f"{folder}: {config.model.kind} on {config.task_name}, seed {config.train.seed}, "
            f"{torch.get_num_threads()} thread(s)"
            + (f" in each of {processes.count} processes" if processes.count > 1 else "")
        )
        reporter.begin(progress.update, config.train.max_updates)
        for done in updates(wrapped, optimizer, config, progress, processes):
            progress, begun = done.progress, True
            recorder.updated(done)
            reporter.updated(done)
            if _is_due(config.train.evaluate_every, progress.update):
                recorder.log(_validate(model, config, progress.update))
            if _is_due(config.train.checkpoint_every, progress.update):
                recorder.save(progress)
            if processes.any(should_stop()):
                stopped = True
                break
        stopped = stopped or processes.any(should_stop())
        recorder.save(progress)
        begun = True
    except ProcessesError:
        begun = True
        recorder.save(progress)
        raise
    finally:
        recorder.close()
        if not begun:  # sizes that do not fit into memory fail in the first update
            recorder.discard()
    return Outcome(model, progress, recorder.seconds, stopped)


def _check_before_writing(config: RunConfig, model: nn.Module) -> None:
    """Finds now what would stop the run later: missing data, bad levels, loggers, index."""
    check_loggers(config.train.loggers)
    if config.index is not None:
        model.initial_state(1)  # type: ignore[operator]
    generator, levels = torch.Generator(), config.eval.levels
    config.task.sample(1, generator=generator)
    for split in ("test",) if config.train.evaluate_every is None else ("test", "valid"):
        held_out = config.task.evaluation(
            1, generator=generator, levels=levels, count=1, split=split
        )
        next(iter(held_out))


def _is_due(every: int | None, update: int) -> bool:
    return every is not None and update % every == 0


def _validate(model: nn.Module, config: RunConfig, update: int) -> dict:
    results = evaluate(
        model, config.task, seed=config.train.seed, split="valid", **dataclasses.asdict(config.eval)
    )
    for result in results:
        if not math.isfinite(result.loss):
            raise DivergedError(
                f"evaluation: expected a finite loss after update {update}, got {result.loss} at "
                f"{result.name} {result.value}; the last checkpoint is kept"
            )
    return {"update": update, "evaluation": [result._asdict() for result in results]}
