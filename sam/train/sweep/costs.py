"""``--cost-only``: what a step of each cell costs, without training it."""

import json
from pathlib import Path
from typing import Any, TypedDict

import torch

from index.bench.word_sources import ClusteredWords
from sam.available import refused_if_too_large
from sam.errors import ConfigError
from sam.train.curriculum import batch_size_at
from sam.train.folder import build_model
from sam.train.lines import parse_json
from sam.train.run_files import read_file, write_atomic
from sam.train.seeds import generator_for
from sam.train.settings import to_tables
from sam.train.step_cost import measure_step
from sam.train.summary import machine
from sam.train.toml import to_toml
from sam.train.train_config import RunConfig

COSTS = "costs"  # folder of the files, in that of a sweep


class CostFile(TypedDict):
    """What the file of a cell holds."""

    config: str  # all settings, TOML
    full: bool
    step: dict[str, Any]  # see `sam.train.step_cost.StepCost`
    threads: int
    torch: str
    machine: dict[str, Any]


def measure_cost(config: RunConfig, path: Path, *, full: bool) -> None:
    """Measures a step of an untrained model on a batch of its task, at the highest level.

    Args:
        config: model, index, batch size and task.
        path: the file to write.
        full: whether all words of the memory are there from the start: clustered vectors, the same
            in every row. Otherwise each sequence begins with a fresh memory. Of a model without an
            index every step looks at all words in any case.

    Raises:
        ConfigError: something does not fit into memory.
        OSError: the file cannot be written.
    """
    generator = generator_for(config.train.seed, 0, "cost")
    level = config.task.levels[1]
    with refused_if_too_large("a training step"):
        model = build_model(config)
        size = batch_size_at(config.curriculum, config.train.batch_size, level)
        batch = config.task.sample(size, generator=generator, level=level)
        words = _words(config, generator) if full and config.index is not None else None
        cost = measure_step(model, batch.inputs, words=words)
    content = {
        "config": to_toml(to_tables(config)),
        "full": full,
        "step": cost._asdict(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
    }
    write_atomic(path, json.dumps(content, indent=2) + "\n")


def read_cost(path: Path, config: RunConfig, *, full: bool) -> dict[str, Any] | None:
    """The costs of a file, if it is there, whole, and of these settings."""
    try:
        content = parse_json(read_file(path), str(path), CostFile)
    except (OSError, ConfigError):
        return None
    same = content["config"] == to_toml(to_tables(config)) and content["full"] == full
    return content["step"] if same else None


def _words(config: RunConfig, generator: torch.Generator) -> torch.Tensor:
    """Words for all slots, [N, W]."""
    memory_size, word_size = config.model.memory_size, config.model.word_size
    return ClusteredWords(1, memory_size, word_size, generator=generator).draw(memory_size)[0]
