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
from sam.train.batch_checks import check_batch
from sam.train.best import is_exhausted, judged, mean_loss, mean_wrong
from sam.train.curriculum import batch_size_at
from sam.train.device import chosen_device
from sam.train.evaluate import as_record, evaluate
from sam.train.first_parameters import begin_with
from sam.train.folder import build_model, check_new, check_run, has_begun, load_checkpoint_of
from sam.train.kinds import KINDS
from sam.train.learner import Learner
from sam.train.lock import run_lock
from sam.train.loggers import check_loggers
from sam.train.loop import Progress, first_progress, updates
from sam.train.names import CHECKPOINT, check_places
from sam.train.optimizer import make_optimizer
from sam.train.processes import ALONE, Processes
from sam.train.progress import Reporter
from sam.train.recorder import Recorder, Unrecorded
from sam.train.resuming import carry, resume
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
        resume: continue the run in the folder; begin it where there is none.
        should_stop: called after every update; True, in any process, saves and ends the call.
        processes: those that train together and all call this; the first one writes.
        lock: held while this works, in place of the folder's own, which the caller may hold.

    Returns:
        The trained model, averaged or the best if the settings say so, on the CPU; and how the call
        ended. The checkpoint is of the last update.

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
    if not resume:
        check_new(folder)
    elif folder.exists():  # a run that ended before it had saved anything left none
        check_run(folder)
    held = run_lock(folder) if processes.is_first else nullcontext()
    with held if lock is None else lock:
        return _train(config, folder, resume, reporter or Reporter(), should_stop, processes)


def _train(
    config: RunConfig,
    folder: Path,
    resuming: bool,
    reporter: Reporter,
    should_stop: Callable[[], bool],
    processes: Processes,
) -> Outcome:
    """What `train_run` does in a folder whose lock the first process holds."""
    if not resuming:
        check_new(folder)
    model = build_model(config)
    goes_on = resuming and has_begun(folder)
    if not goes_on:
        begin_with(config.train, model)
    model = model.to(chosen_device(config.train.device))
    learner = Learner(model, make_optimizer(config.optimizer, model), config)
    checkpoint, progress = None, first_progress(config)
    if goes_on:
        checkpoint = load_checkpoint_of(folder, config)
        resume(learner, checkpoint, folder / CHECKPOINT, processes)
        progress = checkpoint.progress
    else:
        learner.begin(0)
    highest = None if progress.curriculum is None else config.task.levels[1]
    processes.rows(batch_size_at(config.curriculum, config.train.batch_size, highest))
    _check_before_writing(config, model)
    check_places(folder)
    processes.check_equal("settings and checkpoint", (to_tables(config), progress))
    wrapped = processes.wrapped(model)
    recorder = Recorder(config, folder, learner, checkpoint) if processes.is_first else Unrecorded()
    place = folder / CHECKPOINT
    stopped, begun = False, resuming
    try:
        _save(recorder, learner, progress, processes, place)
        reporter.say(
            f"{folder}: {config.model.kind} on {config.task_name}, seed {config.train.seed}, "
            f"{torch.get_num_threads()} thread(s)"
            + (f" in each of {processes.count} processes" if processes.count > 1 else "")
        )
        reporter.begin(progress.update, config.train.max_updates)
        running = updates(wrapped, learner.optimizer, config, progress, processes, learner)
        while not is_exhausted(progress.best, config.train.patience):
            done = next(running, None)
            if done is None:
                break
            progress, begun = done.progress._replace(best=progress.best), True
            recorder.updated(done)
            reporter.updated(done)
            if _is_due(config.train.evaluate_every, progress.update):
                progress = _validated(learner, recorder, reporter, config, progress, processes)
            if _is_due(config.train.checkpoint_every, progress.update):
                _save(recorder, learner, progress, processes, place)
            if processes.any(should_stop()):
                stopped = True
                break
        stopped = stopped or processes.any(should_stop())
        _save(recorder, learner, progress, processes, place)
        begun = True
    except ProcessesError:
        begun = True
        if learner.state is None:  # else those of the others are lost, and so is what followed
            recorder.save(progress)
        raise
    finally:
        recorder.close()
        if not begun:  # sizes that do not fit into memory fail in the first update
            recorder.discard()
    return Outcome(learner.result().cpu(), progress, recorder.seconds, stopped)


def _save(
    recorder: Recorder | Unrecorded,
    learner: Learner,
    progress: Progress,
    processes: Processes,
    place: Path,
) -> None:
    """Saves a checkpoint, with the carried states of all processes."""
    carried = learner.carried(processes)
    recorder.save(progress, carried)
    if carried is not None:
        carry(learner, carried[processes.rank], place)


def _check_before_writing(config: RunConfig, model: nn.Module) -> None:
    """Finds now what would stop the run later: missing data, bad levels, loggers, index."""
    check_loggers(config.train.loggers)
    if config.index is not None:
        model.initial_state(1)  # type: ignore[operator]
    generator, levels = torch.Generator(), config.eval.levels
    check_batch(config.task.sample(1, generator=generator), config.task, config.task_name)
    for split in ("test",) if config.train.evaluate_every is None else ("test", "valid"):
        held_out = config.task.evaluation(
            1, generator=generator, levels=levels, count=1, split=split
        )
        check_batch(next(iter(held_out)), config.task, config.task_name)


def _is_due(every: int | None, update: int) -> bool:
    return every is not None and update % every == 0


def _validated(
    learner: Learner,
    recorder: Recorder | Unrecorded,
    reporter: Reporter,
    config: RunConfig,
    progress: Progress,
    processes: Processes,
) -> Progress:
    """Evaluates on validation data, logs it, and keeps the parameters if they are the best."""
    results = evaluate(
        learner.evaluated,
        config.task,
        seed=config.train.seed,
        split="valid",
        **dataclasses.asdict(config.eval),
    )
    for result in results:
        if not math.isfinite(result.loss):
            raise DivergedError(
                f"evaluation: expected a finite loss after update {progress.update}, got "
                f"{result.loss} at {result.name} {result.value}; the last checkpoint is kept"
            )
    kind = config.task.kind
    records = [as_record(result, kind) for result in results]
    recorder.log({"update": progress.update, "evaluation": records})
    if config.train.patience is None and not config.train.keep_best:
        return progress
    by_loss = config.train.judge_by == "loss"
    # Without a mistake, the one is the best that is the surest.
    loss, then = (mean_loss(results), 0.0) if by_loss else (mean_wrong(results), mean_loss(results))
    loss, then = processes.broadcast((loss, then))
    best = judged(progress.best, loss, progress.update, then)
    if config.train.keep_best and best.waited == 0:
        learner.keep()
    ago = "the best so far" if best.waited == 0 else f"the best was at update {best.update}"
    what = KINDS[kind].loss if by_loss else "of the targets wrong"
    reporter.say(f"update {progress.update}: {loss:.4g} {what} on validation, {ago}")
    return progress._replace(best=best)
