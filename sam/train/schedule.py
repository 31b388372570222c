"""The learning rate of each update: warm-up, a time at its height, cosine or linear decay."""

import math

import torch
from torch.optim.lr_scheduler import LambdaLR

from sam.train.train_config import OptimizerConfig


def learning_rate_factor(config: OptimizerConfig, updates: int, last: int) -> float:
    """The learning rate of the next update, as a fraction of `optimizer.lr`.

        warm-up   (u + 1) / warmup
        held      1                                     for `hold` updates
        cosine    f + (1 - f) (1 + cos(pi s)) / 2       s = (u - first) / (last - first)
        linear    f + (1 - f) (1 - s)                   first = warmup + hold

    It follows from the number of the update alone, so a run that goes on has nothing to load.

    Args:
        config: warm-up, hold, schedule and f, the final factor.
        updates: u, how many are done.
        last: the update at which the rate has fallen to f of its height; it stays there.

    Returns:
        The fraction, in [0, 1].
    """
    if updates < config.warmup:
        return (updates + 1) / config.warmup
    if config.schedule == "constant":
        return 1.0
    first = config.warmup + config.hold
    done = min(max(updates - first, 0) / max(last - first, 1), 1.0)
    left = (1 + math.cos(math.pi * done)) / 2 if config.schedule == "cosine" else 1 - done
    return config.final_factor + (1 - config.final_factor) * left


def make_schedule(
    config: OptimizerConfig, optimizer: torch.optim.Optimizer, *, updates: int, last: int
) -> LambdaLR | None:
    """Sets an optimizer's learning rate for the next update, and changes it after each.

    Args:
        config: of the optimizer.
        optimizer: whose learning rate is `config.lr`.
        updates: how many are done.
        last: where the run ends, if the settings name no other update.

    Returns:
        The schedule, to be stepped after each update; None if the rate never changes.
    """
    if config.warmup == 0 and config.schedule == "constant":
        return None
    for group in optimizer.param_groups:
        group["initial_lr"] = config.lr
    last = last if config.schedule_updates is None else config.schedule_updates
    # The constructor takes the first step, to `updates`.
    return LambdaLR(
        optimizer, lambda done: learning_rate_factor(config, done, last), last_epoch=updates - 1
    )
