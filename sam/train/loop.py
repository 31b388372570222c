"""The training loop: sample, forward, loss, backward, clip, step."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from index import Audit
from sam.errors import NonFiniteError
from sam.tasks.base import Task
from sam.train.config import RunConfig
from sam.train.curriculum import CurriculumState, advance, draw_level, first_state
from sam.train.losses import score
from sam.train.optimizer import clear_gradients, clip_gradients, optimized
from sam.train.processes import ALONE, Processes
from sam.train.seeds import generator_for


class Progress(NamedTuple):
    """All that the next update depends on, beside parameters and optimizer."""

    update: int = 0  # updates done
    errors: tuple[float, ...] = ()  # of the last `train.window` updates, oldest first
    curriculum: CurriculumState | None = None


class Update(NamedTuple):
    """What one update did."""

    number: int  # counted from 1
    level: int | None  # the curriculum's; None when the task drew it
    loss: float  # bits per sequence
    error: float  # wrong bits per sequence, or the fraction of questions wrong
    gradient_norm: float  # before clipping
    window_error: float  # mean error of the last updates
    progress: Progress  # to go on from
    index_recall: float | None = None  # of the searches, where the update is logged

    def record(self) -> dict[str, Any]:
        """The line of metrics.jsonl. No clock in it: equal runs write equal bytes."""
        level = {} if self.level is None else {"level": self.level}
        recall = {} if self.index_recall is None else {"index_recall": self.index_recall}
        return (
            {"update": self.number}
            | level
            | recall
            | {
                "loss": self.loss,
                "error": self.error,
                "gradient_norm": self.gradient_norm,
                "window_error": self.window_error,
            }
        )


def first_progress(config: RunConfig) -> Progress:
    """Where a fresh run stands."""
    if not config.curriculum.enabled:
        return Progress()
    start, highest = config.task.start_level, config.task.levels[1]
    return Progress(curriculum=first_state(config.curriculum, start, highest))


def is_solved(config: RunConfig, progress: Progress) -> bool:
    """Whether the mean of a full window is below `train.stop_below`, at the highest level."""
    if config.train.stop_below is None or len(progress.errors) < config.train.window:
        return False
    state = progress.curriculum
    at_top = state is None or state.limit >= config.task.levels[1]
    return at_top and _mean(progress.errors) < config.train.stop_below


def updates(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    progress: Progress,
    processes: Processes = ALONE,
) -> Iterator[Update]:
    """Trains, one update per item, until the task is solved or `train.max_updates` is reached.

    Every update draws its data from a generator made from the seed and its number, so a run that
    goes on from a saved `progress` does what an unbroken one does, bit for bit.

    Args:
        model: called with inputs [T, B, I]; trained in place.
        optimizer: of the model's parameters.
        config: task, batch size, curriculum and when to end.
        progress: where to go on from.
        processes: those that train together; each is given `Processes.together(model)`, and yields
            the same numbers.

    Yields:
        What each update did, after the parameters have moved.

    Raises:
        NonFiniteError: loss or gradient is NaN or infinite; the parameters are as before that
            update.
        ProcessesError: another process is gone; the parameters are as before that update.
    """
    while progress.update < config.train.max_updates and not is_solved(config, progress):
        done = _update(model, optimizer, config, progress, processes)
        progress = done.progress
        yield done


def _update(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    config: RunConfig,
    progress: Progress,
    processes: Processes,
) -> Update:
    task: Task = config.task
    number = progress.update + 1
    generator = generator_for(config.train.seed, number)
    state, level = progress.curriculum, None
    if state is not None:
        level = draw_level(state, task.levels[0], generator=generator)
    batch = task.sample(config.train.batch_size, generator=generator, level=level)

    if not model.training:
        model.train()
    size = config.train.batch_size
    own = processes.share(batch)
    processes.begin_update(config.train.seed, number)
    with processes.expecting_answers():  # buffers of the model are sent around here
        outputs, recall = _forward(model, own.inputs, config, number)
    of_share = score(outputs, own, task)
    scores = processes.whole(of_share, size)
    loss = scores.loss.item()
    _check_finite("loss", loss, number)
    parameters = optimized(optimizer)
    clear_gradients(parameters)
    with processes.expecting_answers():  # and gradients here
        processes.weighted(of_share.loss, size).backward()
    norm = clip_gradients(parameters, config.optimizer.clip_norm)
    _check_finite("gradient norm", norm, number)
    optimizer.step()

    error = scores.error(task.kind)
    errors = (*progress.errors, error)[-config.train.window :]
    if state is not None and level is not None:
        per_target = (scores.bits.sum() / scores.targets.sum()).item()
        highest = task.levels[1]
        advanced = advance(state, level, per_target, config.curriculum, highest=highest)
        if advanced.limit > state.limit:
            errors = ()  # they were of an easier task, and must not end the run
        state = advanced
    return Update(
        number=number,
        level=level,
        loss=_mean(scores.bits.tolist()),
        error=error,
        gradient_norm=norm,
        window_error=_mean(errors) if errors else error,
        progress=Progress(number, errors, state),
        index_recall=processes.mean(recall, size),
    )


def _forward(
    model: nn.Module, inputs: torch.Tensor, config: RunConfig, number: int
) -> tuple[torch.Tensor, float | None]:
    """Outputs, and the recall of an approximate index where the update will be logged."""
    approximate = config.index is not None and config.index.kind != "exact"
    if not approximate or number % config.train.log_every:
        return model(inputs)[0], None
    with Audit() as audit:
        return model(inputs)[0], audit.recall


def _check_finite(what: str, value: float, number: int) -> None:
    if not math.isfinite(value):
        raise NonFiniteError(
            f"{what}: expected a finite value, got {value} at update {number}; the parameters are "
            f"those of update {number - 1}. A lower optimizer.lr or clip_norm may help"
        )


def _mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)
