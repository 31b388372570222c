"""The files of a run folder.

config.toml         the resolved settings; `--config` repeats the run
metrics.jsonl       numbers of the updates; equal runs write equal bytes
timing.jsonl        seconds since the start, updates a second, peak of memory, at the same updates
checkpoint.pt       all that is needed to resume
model.safetensors   the parameters, at the end (see `sam.train.summary`)
summary.json        how it ended
eval.json           the last results of `eval`
tensorboard         events for TensorBoard, if that logger was asked for
wandb               files of Weights & Biases, likewise
figures             drawings, each with its data beside it
.lock               while a process trains (see `sam.train.lock`), or after it was killed
"""

import shutil
import stat
from pathlib import Path

from sam.errors import ConfigError

CONFIG, CHECKPOINT = "config.toml", "checkpoint.pt"
METRICS, TIMING = "metrics.jsonl", "timing.jsonl"
PARAMETERS, SUMMARY, EVALUATION = "model.safetensors", "summary.json", "eval.json"
FIGURES, TENSORBOARD, WANDB = "figures", "tensorboard", "wandb"
SWEEP = "sweep.json"  # of a sweep's folder, which is none of a run
LEARNING_CURVE, ACCESS_MAP = "learning_curve.png", "access_map.png"
# Written only by the process that holds the lock.
OF_TRAINING = (CONFIG, CHECKPOINT, METRICS, TIMING, PARAMETERS, SUMMARY)


def check_places(folder: Path) -> None:
    """Checks at the start that nothing blocks the files that are written later.

    Raises:
        ConfigError: a folder has the name of a file, or the other way round.
    """
    for name in OF_TRAINING:
        _check_file(folder / name)
    check_figure_places(folder)


def check_figure_places(folder: Path) -> None:
    """As `check_places`, for the figures alone."""
    figures = folder / FIGURES
    if figures.is_symlink() or figures.exists():
        if not figures.is_dir():
            raise ConfigError(f"{figures}: expected a folder to write to, got something else")
        for name in (LEARNING_CURVE, ACCESS_MAP):
            _check_file(figures / name)
            _check_file((figures / name).with_suffix(".json"))


def discard(folder: Path) -> None:
    """Removes the files of a run that ended before its first update; the lock stays."""
    for name in OF_TRAINING:
        (folder / name).unlink(missing_ok=True)
    for name in (TENSORBOARD, WANDB):
        shutil.rmtree(folder / name, ignore_errors=True)


def _check_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    # A link itself is replaced, not its target; logs are checked when they are opened.
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise ConfigError(f"{path}: expected a file that can be replaced, got something else")
