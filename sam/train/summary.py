"""Results of a run: parameters as safetensors, and a summary readable without torch."""

import dataclasses
import json
import os
import platform
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch

from index.spelling import spell_index
from sam.models.model_files import save_model
from sam.train.evaluate import SliceResult, as_record
from sam.train.kinds import KINDS
from sam.train.lines import parse_json
from sam.train.loop import is_solved
from sam.train.names import PARAMETERS, SUMMARY
from sam.train.run import Outcome
from sam.train.run_files import read_file, write_atomic
from sam.train.settings import to_tables
from sam.train.step_cost import StepCost
from sam.train.toml import to_toml
from sam.train.train_config import RunConfig


class Slice(TypedDict):
    """See `sam.train.evaluate.SliceResult`."""

    name: str
    value: int
    sequences: int
    loss: float
    wrong: float
    accuracy: float
    solved: float


class Summary(TypedDict):
    """What summary.json holds."""

    command: str
    task: str
    model: str
    sizes: NotRequired[dict[str, int]]  # of the model: memory_size, word_size, ...
    index: NotRequired[str]  # of a model that has one
    seed: int
    parameters: int
    updates: int
    solved: bool
    final_error: float | None
    error_unit: str
    seconds: float
    ms_per_update: NotRequired[float]
    step: NotRequired[dict[str, Any]]  # see `sam.train.step_cost.StepCost`
    evaluation: tuple[Slice, ...]
    threads: int
    torch: str
    machine: dict[str, Any]


def read_summary(path: Path) -> dict[str, Any]:
    """Reads a summary.json.

    Raises:
        ConfigError: it is damaged; the file and the value are named.
        OSError: it cannot be read.
    """
    return parse_json(read_file(path), str(path), Summary)


def write_results(
    config: RunConfig,
    folder: Path,
    outcome: Outcome,
    results: list[SliceResult],
    *,
    command: str = "",
    cost: StepCost | None = None,
) -> dict[str, Any]:
    """Writes `model.safetensors` and `summary.json`, each whole or not at all.

    Args:
        config: the run's settings; they also stand in the metadata of the parameters' file.
        folder: the run's folder.
        outcome: how training ended.
        results: evaluation of the trained model.
        command: the command line, so that the run can be repeated.
        cost: of a step of the trained model.

    Returns:
        The summary.

    Raises:
        BackendMissingError: safetensors is not installed.
        OSError: something cannot be written.
    """
    notes = {"config": to_toml(to_tables(config))}
    save_model(outcome.model, folder / PARAMETERS, notes=notes)
    updates = outcome.progress.update
    index = {} if config.index is None else {"index": spell_index(config.index)}
    summary = {
        "command": command,
        "task": config.task_name,
        "model": config.model.kind,
        "sizes": sizes(config),
        **index,
        "seed": config.train.seed,
        "parameters": sum(value.numel() for value in outcome.model.state_dict().values()),
        "updates": updates,
        "solved": is_solved(config, outcome.progress),
        "final_error": outcome.window_error,
        "error_unit": error_unit(config.task.kind),
        "seconds": round(outcome.seconds, 3),
        **({"ms_per_update": 1e3 * outcome.seconds / updates} if updates else {}),
        **({} if cost is None else {"step": cost._asdict()}),
        "evaluation": [as_record(result, config.task.kind) for result in results],
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "machine": machine(),
    }
    write_atomic(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return summary


def sizes(config: RunConfig) -> dict[str, int]:
    """The whole numbers among the settings of a model: memory size, word size, heads, ..."""
    found = {f.name: getattr(config.model, f.name) for f in dataclasses.fields(config.model)}
    return {name: value for name, value in found.items() if type(value) is int}


def error_unit(kind: str) -> str:
    """What the error of a task counts."""
    return KINDS[kind].error


def machine() -> dict[str, Any]:
    """The machine that the seconds were measured on."""
    return {
        "system": platform.system(),
        "processor": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
    }
