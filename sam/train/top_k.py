"""K that falls in training: at first a head reads many words, and each of them gets a gradient.

    K_u = round(first (last / first)^(u / updates))

Only words that are read get a gradient, so with a small K a head that looks in the wrong place
learns little about the right one. No parameter depends on K. It follows from the number of the
update alone, so a run that goes on has nothing to load.
"""

import dataclasses
from typing import Any

from torch import nn

from sam.errors import ConfigError
from sam.tasks.task import Stream
from sam.train.train_config import RunConfig


def top_k_at(first: int, last: int, updates: int, done: int) -> int:
    """K of the next update, once so many are done; `last` from `updates` on."""
    if done >= updates:
        return last
    return round(first * (last / first) ** (done / updates))


class TopKSchedule:
    """Sets K of a model before each update.

    Args:
        config: of the run; its `train.first_top_k` is given.
        modules: the model, and its averaged copy if there is one.

    Raises:
        ConfigError: the model has no K, or fewer words than that, or its state is carried on from
            batch to batch.
    """

    def __init__(self, config: RunConfig, modules: list[nn.Module]) -> None:
        first, last = config.train.first_top_k, getattr(config.model, "top_k", None)
        if first is None or last is None:
            raise ConfigError(
                f"train.first_top_k: expected a model with top_k, got {config.model.kind}"
            )
        if isinstance(config.task, Stream):
            raise ConfigError(
                "train.first_top_k: expected a task whose batches begin anew, got "
                f"{config.task_name}, whose states are carried on"
            )
        if first > config.model.memory_size:
            raise ConfigError(
                f"train.first_top_k: expected at most memory_size={config.model.memory_size}, "
                f"got {first}"
            )
        self._first, self._last, self._updates = first, last, config.train.top_k_updates
        self._modules = modules

    def set(self, done: int) -> None:
        """Sets K to that of the next update, once so many are done."""
        self._put(top_k_at(self._first, self._last, self._updates, done))

    def finish(self) -> None:
        """Sets K to the model's own."""
        self._put(self._last)

    def _put(self, top_k: int) -> None:
        for module in self._modules:
            cell: Any = module.cell
            if cell.memory.top_k != top_k:
                cell.memory = dataclasses.replace(cell.memory, top_k=top_k)
