"""A trained model with another memory size or index: no parameter of it depends on either."""

import dataclasses
from pathlib import Path
from typing import Any

from torch import nn

from index.spelling import parse_index
from sam.errors import ConfigError
from sam.train.checkpoint import restore
from sam.train.folder import build_model, load_checkpoint_of, read_config
from sam.train.loop import Progress
from sam.train.names import CHECKPOINT
from sam.train.settings import with_base
from sam.train.train_config import RunConfig


def load_variant(
    folder: Path,
    *,
    memory_size: int | None = None,
    index: str | None = None,
    base: str | None = None,
) -> tuple[RunConfig, nn.Module, Progress]:
    """As `load_run`, with a memory of another size, another index, or over another base.

    Args:
        folder: of the run; nothing in it changes.
        memory_size: N; that of the run by default.
        index: as `index.spelling.parse_index` reads it; that of the run by default.
        base: folder of a base, also for a task that asks about one; that of the run by default.

    Returns:
        The settings with these changed, the model, and how far the run is.

    Raises:
        ConfigError: the folder is not that of a run, the model has no memory or no index, or a
            parameter depends on the size.
        ValueError: the index is unknown, or the size does not fit the model's other settings.
        CheckpointError: the checkpoint is damaged or of other settings.
        OSError: there is no checkpoint yet.
    """
    config = read_config(folder)
    checkpoint = load_checkpoint_of(folder, config)
    changed = with_memory(config, memory_size=memory_size, index=index)
    changed = changed if base is None else with_base(changed, base)
    model = build_model(changed)
    if changed != config:
        _check_shapes(checkpoint.model, model, changed)
    restore(checkpoint, folder / CHECKPOINT, model, None)
    return changed, model, checkpoint.progress


def with_memory(config: RunConfig, *, memory_size: int | None, index: str | None) -> RunConfig:
    """The settings with another memory size or index.

    Raises:
        ConfigError: the model has no memory or no index.
        ValueError: there is no such index, or it has no such option.
    """
    kind = config.model.kind
    if memory_size is not None:
        if not hasattr(config.model, "memory_size"):
            raise ConfigError(f"--memory-size: expected a model with a memory, got {kind}")
        model = dataclasses.replace(config.model, memory_size=memory_size)
        config = dataclasses.replace(config, model=model)
    if index is not None:
        if config.index is None:
            raise ConfigError(f"--index: expected a model with an index, got {kind}")
        config = dataclasses.replace(config, index=parse_index(index))
    return config


def _check_shapes(found: dict[str, Any], model: nn.Module, config: RunConfig) -> None:
    for name, parameter in model.state_dict().items():
        if name in found and found[name].shape != parameter.shape:
            raise ConfigError(
                f"--memory-size: expected that of the run, since {name} of {config.model.kind} "
                f"depends on it: {list(found[name].shape)} was trained, got "
                f"{list(parameter.shape)}"
            )
