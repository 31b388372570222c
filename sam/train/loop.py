"""The training loop: sample, forward, loss, backward, clip, step."""

from collections.abc import Iterator
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import nn

from sam.train.best import Best
from sam.train.curriculum import (
    CurriculumState,
    advance,
    batch_size_at,
    draw_level,
    first_state,
    lowest_level,
)
from sam.train.kinds import KINDS
from sam.train.learner import Learner
from sam.train.optimizer import clear_gradients, clip_gradients, optimized
from sam.train.passes import backward, batches
from sam.train.processes import ALONE, Processes
from sam.train.seeds import generator_for
from sam.train.train_config import RunConfig
from sam.train.watch import Watched, check_gradients


class Progress(NamedTuple):
    """All that the next update depends on, besides parameters and optimizer."""

    update: int = 0  # updates done
    errors: tuple[float, ...] = ()  # of the last `train.window` updates, oldest first
    curriculum: CurriculumState | None = None
    best: Best | None = None  # evaluation, of a run that stops early or keeps the best parameters


class Update(NamedTuple):
    """What one update did."""

    number: int  # counted from 1
    level: int | None  # the curriculum's; None when the task drew it
    loss: float  # in the unit of `sam.train.kinds`: bits per sequence, per token, ...
    error: float  # likewise: wrong bits per sequence, the fraction of questions wrong, ...
    gradient_norm: float  # before clipping
    window_error: float  # mean error of the last updates
    progress: Progress  # to go on from
    watched: Watched = Watched()  # where the update is logged
    unit: str = "bits"  # of the loss

    @property
    def index_recall(self) -> float | None:
        """Recall of an approximate index, where the update is logged."""
        return self.watched.index_recall

    def record(self) -> dict[str, Any]:
        """The line of metrics.jsonl. No clock in it: equal runs write equal bytes."""
        record = {"update": self.number, "level": self.level} | self.watched._asdict()
        for name in ("loss", "error", "gradient_norm", "window_error"):
            record[name] = getattr(self, name)
        return {name: value for name, value in record.items() if value is not None}


def first_progress(config: RunConfig) -> Progress:
    """The progress of a fresh run."""
    if not config.curriculum.enabled:
        return Progress()
    start, highest = config.task.start_level, config.task.levels[1]
    return Progress(curriculum=first_state(config.curriculum, start, highest))


def level_reached(config: RunConfig, progress: Progress) -> int:
    """The highest level trained on: that of the curriculum so far, or the task's own."""
    state = progress.curriculum
    return config.task.levels[1] if state is None else state.limit


def is_solved(config: RunConfig, progress: Progress) -> bool:
    """Whether the mean of a full window is below `train.stop_below`, at the highest level."""
    if config.train.stop_below is None or len(progress.errors) < config.train.window:
        return False
    state = progress.curriculum
    at_top = state is None or state.limit >= config.task.levels[1]
    return at_top and fmean(progress.errors) < config.train.stop_below


def updates(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    progress: Progress,
    processes: Processes = ALONE,
    learner: Learner | None = None,
) -> Iterator[Update]:
    """Trains, one update per item, until the task is solved or `train.max_updates` is reached.

    Every update draws its data from a generator made from the seed and the update's number, so a
    resumed run does what an unbroken one does, bit for bit.

    Args:
        model: called with inputs [T, B, I]; trained in place.
        optimizer: of the model's parameters.
        config: task, batch size, curriculum and when to end.
        progress: where to go on from.
        processes: those that train together; each passes `Processes.wrapped(model)` as the model,
            and yields the same numbers.
        learner: has the model and the optimizer, and has begun with this progress; one is made
            when not given.

    Yields:
        What each update did, after it has changed the parameters.

    Raises:
        DivergedError: loss or gradient is NaN, infinite, or above what the settings allow. The
            error names what was wrong first; the parameters are as before that update.
        ProcessesError: another process is lost; the parameters are as before that update.
    """
    if learner is None:
        learner = Learner(processes.unwrapped(model), optimizer, config)
        learner.begin(progress.update)
    while progress.update < config.train.max_updates and not is_solved(config, progress):
        done = _update(model, learner, config, progress, processes)
        progress = done.progress
        yield done


def _update(
    model: nn.Module, learner: Learner, config: RunConfig, progress: Progress, processes: Processes
) -> Update:
    task, number = config.task, progress.update + 1
    generator = generator_for(config.train.seed, number)
    state, level = progress.curriculum, None
    if state is not None:
        lowest = lowest_level(config.curriculum, task.levels[0])
        level = draw_level(config.curriculum, state, lowest, generator=generator)
    size = batch_size_at(config.curriculum, config.train.batch_size, level)

    if not model.training:
        model.train()
    parameters = optimized(learner.optimizer)
    clear_gradients(parameters)
    processes.begin_update(config.train.seed, number)
    given = batches(config, number, generator, level)
    scores, watched = backward(model, learner, config, given, number, processes)
    norm = clip_gradients(parameters, config.optimizer.clip_norm)
    check_gradients(learner.model, norm, number, config)
    watched = watched.of_all(processes, size)
    # All processes have answered by now, so a lost one cannot leave half an update.
    learner.step()

    error = scores.error(task.kind)
    errors = (*progress.errors, error)[-config.train.window :]
    asked = state is not None or learner.fall_back is not None
    per_target, harder = scores.per_target(task.kind) if asked else 0.0, False
    if state is not None and level is not None:
        highest = task.levels[1]
        advanced = advance(state, level, per_target, config.curriculum, highest=highest)
        harder = advanced.limit > state.limit
        if harder:
            errors = ()  # they are of an easier task, and must not end the run
        state = advanced
    if learner.fall_back is not None and learner.fall_back.updated(per_target, harder=harder):
        errors = ()  # they are of other parameters
    return Update(
        number=number,
        level=level,
        loss=fmean(scores.bits.tolist()),
        error=error,
        gradient_norm=norm,
        window_error=fmean(errors) if errors else error,
        progress=Progress(number, errors, state, progress.best),
        watched=watched,
        unit=KINDS[task.kind].short,
    )
