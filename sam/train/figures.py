"""The figures of a run, made from its folder."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from index.spelling import spell_index
from sam.errors import ConfigError
from sam.tasks.task import Batch, evaluation_levels
from sam.trace import Trace
from sam.train.access_map import accesses, plot_access_map
from sam.train.lines import read_json_lines, read_metrics
from sam.train.loop import Progress, level_reached
from sam.train.names import (
    ACCESS_MAP,
    FIGURES,
    LEARNING_CURVE,
    METRICS,
    TIMING,
    check_figure_places,
)
from sam.train.plots import plot_learning_curve
from sam.train.run_files import STALE, remove_temporaries
from sam.train.seeds import generator_for
from sam.train.strips import episode_strips
from sam.train.summary import error_unit
from sam.train.train_config import RunConfig

_TIMED = "update", "seconds"
MOST_STEPS = 4096  # of the episode that is drawn, where a lower level has fewer


def make_figures(
    config: RunConfig, folder: Path, model: nn.Module, progress: Progress
) -> list[Path]:
    """Draws a run's learning curve and, for a model with a memory, its accesses in one episode.

    The episode is the first of those the model is evaluated on at the highest level reached; that
    is halved while it takes more than `MOST_STEPS`, of which a picture would show nothing.

    Args:
        config: the run's settings.
        folder: the run's folder; the figures go into its folder `figures`.
        model: the trained model.
        progress: how far it was trained.

    Returns:
        The figures that were made. A run without metrics has no learning curve, and a dense
        memory without a weight above 0.005 has no map of accesses.

    Raises:
        ConfigError: a line of the metrics is damaged, or a folder is in a figure's place.
        BackendMissingError: matplotlib is not installed.
        OSError: the metrics cannot be read, or a figure cannot be written.
    """
    check_figure_places(folder)
    drawings = [Path(drawing) for drawing in (LEARNING_CURVE, ACCESS_MAP)]
    files = [path.with_suffix(end).name for path in drawings for end in (path.suffix, ".json")]
    remove_temporaries(folder / FIGURES, files, older_than=STALE)
    made = []
    name = run_title(config)
    records = read_metrics(folder / METRICS)
    if any("loss" in record for record in records):
        path = folder / FIGURES / LEARNING_CURVE
        plot_learning_curve(
            records,
            path,
            title=name,
            error_unit=error_unit(config.task.kind),
            kind=config.task.kind,
            times=_times(folder),
        )
        made.append(path)
    levels = evaluation_levels(config.task)
    # Where evaluations have levels of their own, those of the curriculum mean something else.
    level = level_reached(config, progress) if levels == config.task.levels else levels[1]
    batch = _episode(config, level)
    while len(batch.inputs) > MOST_STEPS and level > levels[0]:
        level = max(levels[0], level // 2)
        batch = _episode(config, level)
    at_level = "" if levels == (1, 1) else f" at level {level}"  # data have one only
    with torch.no_grad():
        outputs, state = model(batch.inputs, trace=True)
    trace = state.trace
    if isinstance(trace, Trace):
        reads = accesses(trace.read_slots, trace.read_weights)
        writes = accesses(trace.write_slots, trace.write_weights)
        if reads.slots + writes.slots:
            path = folder / FIGURES / ACCESS_MAP
            plot_access_map(
                reads,
                writes,
                batch.inputs.shape[0],
                path,
                title=f"{name}: one episode{at_level}",
                strips=episode_strips(batch, outputs, config.task.kind),
                scored=batch.mask[:, 0].tolist(),
            )
            made.append(path)
    return made


def _episode(config: RunConfig, level: int) -> Batch:
    """The one that is drawn."""
    generator = generator_for(config.train.seed, 0, "figure")
    return next(iter(config.task.evaluation(1, generator=generator, levels=(level,), count=1)))


def run_title(config: RunConfig) -> str:
    """Model, memory size, index, task and seed."""
    words = getattr(config.model, "memory_size", None)
    size = "" if words is None else f", N = {words:,}"
    index = "" if config.index is None else f", {spell_index(config.index)} index"
    return f"{config.model.kind}{size}{index}, on {config.task_name}, seed {config.train.seed}"


def _times(folder: Path) -> list[dict[str, Any]]:
    """The lines of timing.jsonl that are whole; the figure does without them."""
    try:
        lines = read_json_lines(folder / TIMING)
    except (OSError, ConfigError):
        return []
    numbers = (int, float)
    return [line for line in lines if all(isinstance(line.get(k), numbers) for k in _TIMED)]
