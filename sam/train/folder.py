"""Run folders: choosing a new one, and loading an old one."""

from pathlib import Path

import torch
from torch import nn

from sam.available import refused_if_too_large
from sam.errors import CheckpointError, ConfigError
from sam.models import make_model
from sam.train.checkpoint import Checkpoint, load_checkpoint, naming, restore
from sam.train.checkpoint_content import check_progress
from sam.train.imports import IMPORT
from sam.train.lines import read_metrics
from sam.train.lock import LOCK
from sam.train.loggers import check_log
from sam.train.loop import Progress
from sam.train.names import CHECKPOINT, CONFIG, METRICS, SWEEP
from sam.train.run_files import is_temporary
from sam.train.settings import model_arguments, resolve, to_tables
from sam.train.toml import parse_toml, read_toml
from sam.train.train_config import RunConfig

# Settings of [train] that may change when a run is resumed: they only say when to end.
EXTENDABLE = ("max_updates", "stop_below", "max_loss", "max_gradient_norm", "patience")


def new_folder(stem: str, root: Path = Path("runs")) -> Path:
    """The first of ``root/stem-1``, ``root/stem-2``, ... that does not exist. It is not made."""
    number = 1
    while (root / f"{stem}-{number}").exists():
        number += 1
    return root / f"{stem}-{number}"


def check_new(folder: Path) -> None:
    """Raises ConfigError if something is in the folder already, so that no run is overwritten.

    Files of a process that was killed before it wrote the settings do not count.
    """
    if folder.exists() and (not folder.is_dir() or any(map(_counts, folder.iterdir()))):
        raise ConfigError(
            f"run folder: expected a new or empty one, got {folder}, which has files in it; "
            f"to go on with that run, resume it"
        )


def _counts(path: Path) -> bool:
    return path.name != LOCK and not is_temporary(path)


def check_run(folder: Path) -> None:
    """Raises ConfigError unless a run has begun in the folder."""
    if not (folder / CONFIG).exists():
        raise ConfigError(f"{folder}: expected the folder of a run, got {described(folder)}")


def described(folder: Path) -> str:
    """What there is in place of the folder that was asked for."""
    if not folder.exists():
        return "one that does not exist"
    if not folder.is_dir():
        return "a file"
    for name, what in ((SWEEP, "a sweep"), (CONFIG, "a run")):
        if (folder / name).exists():
            return f"that of {what}"
    return f"one without {CONFIG}: nothing has begun there"


def check_extension(old: RunConfig, new: RunConfig) -> None:
    """Raises ConfigError if a resumed run would change more than when it ends."""
    changed = _first_difference(old, new)
    if changed is not None:
        if changed == ("train", "max_updates"):
            raise ConfigError(
                "train.max_updates: expected the value the run began with, since the learning rate "
                "falls until there; a run begun with optimizer.schedule_updates may be longer"
            )
        raise ConfigError(
            f"{'.'.join(changed)}: expected the value the run began with, since only "
            f"{', '.join(f'train.{key}' for key in EXTENDABLE)} may change on resuming"
        )


def has_begun(folder: Path) -> bool:
    """Whether a checkpoint is due: a run saves one before its first line of metrics."""
    metrics = folder / METRICS
    return (folder / CHECKPOINT).exists() or (metrics.exists() and metrics.stat().st_size > 0)


def build_model(config: RunConfig) -> nn.Module:
    """Builds the model of a run, its first parameters decided by `train.seed` alone.

    Raises:
        ConfigError: it does not fit into memory.
        ValueError: the model refuses an argument.
    """
    torch.manual_seed(config.train.seed)
    sizes = config.task.input_size, config.task.output_size
    with refused_if_too_large("model"):
        return make_model(config.model.kind, *sizes, **model_arguments(config))


def read_config(folder: Path) -> RunConfig:
    """Reads the resolved settings of a run.

    Raises:
        ConfigError: the folder is not that of a run, or the file is damaged.
    """
    check_run(folder)
    path = folder / CONFIG
    return resolve(read_toml(path), str(path))


def load_run(folder: Path) -> tuple[RunConfig, nn.Module, Progress]:
    """Reads a run's settings and the model of its last checkpoint.

    Raises:
        ConfigError: the folder is not that of a run.
        CheckpointError: the checkpoint is damaged or of other settings.
        OSError: there is no checkpoint yet.
    """
    config = read_config(folder)
    checkpoint = load_checkpoint_of(folder, config)
    model = build_model(config)
    restore(checkpoint, folder / CHECKPOINT, model, None)
    return config, model, checkpoint.progress


def load_checkpoint_of(folder: Path, config: RunConfig) -> Checkpoint:
    """Reads a folder's checkpoint if it is one of a run with these settings.

    Raises:
        CheckpointError: it is damaged, or its settings differ in more than `EXTENDABLE`.
        OSError: there is none.
    """
    path = folder / CHECKPOINT
    checkpoint = load_checkpoint(path)
    try:
        tables = parse_toml(checkpoint.config, "its settings")
        tables.pop(IMPORT, None)  # the run's own settings have said what to import, and from where
        own_path = getattr(config.task, "path", None)
        if own_path is not None and "path" in tables.get("task", {}):
            tables["task"]["path"] = own_path  # likewise where the data are, which may have moved
        for section in ("task", "model"):
            if "base" in tables.get(section, {}):
                tables[section]["base"] = getattr(getattr(config, section), "base", None)
        theirs = resolve(tables, "its settings")
    except ValueError as error:  # an unknown name is no ConfigError
        raise CheckpointError(f"{path}: expected readable settings in it, got {error}") from error
    different = _first_difference(theirs, config)
    if different is not None:
        raise CheckpointError(
            f"{path}: expected the settings of this run, got others in [{different[0]}]"
        )
    with naming(path):
        check_progress(*checkpoint.progress, config)
    return checkpoint


def check_metrics(folder: Path, config: RunConfig) -> None:
    """Checks metrics.jsonl line by line, and against what the checkpoint was written after.

    Raises:
        ConfigError: a line is wrong; it is named.
        CheckpointError: lines are missing, or have been altered.
        OSError: it cannot be read.
    """
    read_metrics(folder / METRICS)
    check_log(folder / METRICS, load_checkpoint_of(folder, config).logs[METRICS])


def _first_difference(old: RunConfig, new: RunConfig) -> tuple[str, str] | None:
    """Section and key of the first setting that differs, of those that a run keeps for life."""
    before, after = ({k: v for k, v in to_tables(c).items() if k != IMPORT} for c in (old, new))
    for section in before | after:
        ours, theirs = before.get(section, {}), after.get(section, {})
        for key in ours | theirs:
            extendable = section == "train" and key in EXTENDABLE
            if key == "max_updates" and _ends_the_schedule(old):
                extendable = False
            if not extendable and ours.get(key) != theirs.get(key):
                return section, key
    return None


def _ends_the_schedule(config: RunConfig) -> bool:
    """Whether the learning rate has fallen at `train.max_updates`, so that all of it depends on it.

    With `optimizer.schedule_updates` it falls until there, and the run may go on longer.
    """
    optimizer = config.optimizer
    return optimizer.schedule != "constant" and optimizer.schedule_updates is None
