"""The figures of a run, made from its folder."""

from pathlib import Path

import torch
from torch import nn

from sam.trace import Trace
from sam.train.lines import read_metrics
from sam.train.names import ACCESS_MAP, FIGURES, LEARNING_CURVE, METRICS, check_figure_places
from sam.train.plots import accesses, plot_access_map, plot_learning_curve
from sam.train.run_files import STALE, remove_temporaries
from sam.train.seeds import generator_for
from sam.train.summary import error_unit
from sam.train.train_config import RunConfig


def make_figures(config: RunConfig, folder: Path, model: nn.Module) -> list[Path]:
    """Draws a run's learning curve and, for a model with a memory, its accesses in one episode.

    The episode is the first of those the model is evaluated on at the task's highest level.

    Args:
        config: the run's settings.
        folder: the run's folder; the figures go into its folder `figures`.
        model: the trained model.

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
    name = f"{config.model.kind} on {config.task_name}, seed {config.train.seed}"
    records = read_metrics(folder / METRICS)
    if any("loss" in record for record in records):
        path = folder / FIGURES / LEARNING_CURVE
        plot_learning_curve(records, path, title=name, error_unit=error_unit(config.task.kind))
        made.append(path)
    generator = generator_for(config.train.seed, 0, "figure")
    level = config.task.levels[1]
    batch = next(iter(config.task.evaluation(1, generator=generator, levels=(level,), count=1)))
    with torch.no_grad():
        _, state = model(batch.inputs, trace=True)
    trace = state.trace
    if isinstance(trace, Trace):
        reads = accesses(trace.read_slots, trace.read_weights)
        writes = accesses(trace.write_slots, trace.write_weights)
        if reads.slots + writes.slots:
            path = folder / FIGURES / ACCESS_MAP
            title = f"{name}: one episode at level {level}"
            plot_access_map(reads, writes, batch.inputs.shape[0], path, title=title)
            made.append(path)
    return made
