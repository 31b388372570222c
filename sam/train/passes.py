"""The forward and backward passes of one update: scores, and gradients in the parameters."""

import functools
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import torch
from torch import nn

from sam.tasks.task import Batch, Stream, Task
from sam.train.batch_checks import check_batch
from sam.train.carried import forward
from sam.train.curriculum import batch_size_at
from sam.train.device import precision_of
from sam.train.learner import Learner
from sam.train.losses import Scores, score
from sam.train.processes import Processes
from sam.train.train_config import RunConfig
from sam.train.watch import Watched, check_loss, watched_forward


def batches(
    config: RunConfig, number: int, generator: torch.Generator, level: int | None
) -> Iterator[Batch]:
    """The `train.accumulate` batches of an update, checked.

    Raises:
        ConfigError: the task gives something else than a batch of its kind.
    """
    task: Task = config.task
    size, count = config.train.batch_size, config.train.accumulate
    size = batch_size_at(config.curriculum, size, level)
    for i in range(count):
        if _is_stream(type(task)):
            stream: Any = task
            batch = stream.window(size, (number - 1) * count + i)
        else:
            batch = task.sample(size, generator=generator, level=level)
        yield check_batch(batch, task, config.task_name, size)


@functools.cache
def _is_stream(kind: type) -> bool:
    """Whether tasks of this class are streams; each question of a protocol takes long."""
    return issubclass(kind, Stream)


def backward(
    model: nn.Module,
    learner: Learner,
    config: RunConfig,
    given: Iterator[Batch],
    number: int,
    processes: Processes,
) -> tuple[Scores, Watched]:
    """Adds the gradients of the mean loss of the batches to the parameters.

    Args:
        model: the learner's, as `Processes.wrapped` returned it.
        learner: its state is carried on.
        config: of the run.
        given: the batches of the update; each process takes its rows.
        number: of the update.
        processes: those that train together.

    Returns:
        Scores of all sequences; and what the first batch told, of this process's share.

    Raises:
        DivergedError: a loss is not finite, or too high.
        ProcessesError: another process is lost.
    """
    count = config.train.accumulate
    rate, device = learner.rate, learner.device
    found: list[Scores] = []
    first = Watched()
    for i, batch in enumerate(given):
        size = batch.inputs.shape[1]
        own = processes.share(batch)
        own = own if device.type == "cpu" else own.to(device)
        alone = processes.accumulating(model) if i + 1 < count else nullcontext()
        with alone:
            with processes.detecting_lost_processes():  # the model's buffers are exchanged here
                with precision_of(config.train, device):
                    outputs, state, watched = watched_forward(
                        learner.model,
                        lambda own=own: forward(model, own, learner.state),
                        config,
                        number,
                        rate,
                        look=i == 0,
                    )
                outputs = outputs if config.train.precision == "float32" else outputs.float()
            if own.starts is None:
                state = None  # what only it holds is free before the backward pass
            per_target = config.train.loss == "per_target"
            of_share = score(outputs, own, config.task, per_target=per_target)
            scores = processes.combined(of_share, size)
            check_loss(learner.model, own.inputs, outputs, scores, number, config)
            with processes.detecting_lost_processes():  # the gradients are exchanged here
                loss = processes.weighted(of_share.loss, size)
                (loss if count == 1 else loss / count).backward()
        learner.state = None if state is None else state.detach()
        found.append(scores)
        first = watched if i == 0 else first
    return _together(found), first


def _together(found: list[Scores]) -> Scores:
    """Scores of all sequences of several batches."""
    if len(found) == 1:
        return found[0]
    losses, *others = zip(*found, strict=True)
    bits, wrong, targets = map(torch.cat, others)
    return Scores(torch.stack([loss.detach() for loss in losses]).mean(), bits, wrong, targets)
