"""What is kept of a finished run: its settings, and a checkpoint of nothing but its parameters.

``benchmarks/checkpoints/NAME`` is a run's folder to ``python -m sam eval``, which repeats the
numbers that stand in its eval.json; it cannot be resumed, as averages, optimizer and logs are left
out. `export` evaluates what it has written.
"""

import dataclasses
import json
from pathlib import Path

import torch

from sam.errors import ConfigError
from sam.train.checkpoint import load_checkpoint, save_checkpoint
from sam.train.evaluate import as_record, evaluate
from sam.train.folder import load_run
from sam.train.names import CHECKPOINT, CONFIG, EVALUATION
from sam.train.run_files import write_atomic

CHECKPOINTS = Path(__file__).parents[1] / "checkpoints"
MOST_BYTES = 2 * 10**6


def export(run: Path, to: Path) -> None:
    """Writes what is kept of a run.

    Args:
        run: folder of a finished run.
        to: folder to write to; what it holds is replaced.

    Raises:
        ConfigError: the parameters take more than `MOST_BYTES`, or `run` is no run.
        CheckpointError: its checkpoint is damaged.
        OSError: something cannot be read or written.
    """
    found = load_checkpoint(run / CHECKPOINT)
    size = sum(value.numel() * value.element_size() for value in found.result.values())
    if size > MOST_BYTES:
        raise ConfigError(f"{run}: expected at most {MOST_BYTES} bytes of parameters, got {size}")
    to.mkdir(parents=True, exist_ok=True)
    optimizer = {"state": {}, "param_groups": found.optimizer["param_groups"]}
    parameters = {name: value.clone() for name, value in found.result.items()}
    rng = torch.Generator().get_state()
    # Of the curriculum the level alone; the errors say how training ended.
    progress = found.progress
    if progress.curriculum is not None:
        progress = progress._replace(curriculum=progress.curriculum._replace(window=()))
    kept = found._replace(
        progress=progress._replace(best=None),
        model=parameters,
        optimizer=optimizer,
        rng=rng,
        average=None,
        best=None,
        carried=None,
        device_rng=None,
        fall_back=None,
    )
    write_atomic(to / CONFIG, (run / CONFIG).read_text())
    save_checkpoint(to / CHECKPOINT, kept)
    config, model, progress = load_run(to)
    settings = dataclasses.asdict(config.eval)
    results = evaluate(model, config.task, seed=config.train.seed, **settings)
    content = {
        "update": progress.update,
        "seed": config.train.seed,
        "settings": settings,
        "results": [as_record(result, config.task.kind) for result in results],
    }
    write_atomic(to / EVALUATION, json.dumps(content, indent=2) + "\n")
