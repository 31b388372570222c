"""What stands in a run folder.

config.toml         the resolved settings; `--config` repeats the run
metrics.jsonl       numbers of the updates; equal runs write equal bytes
timing.jsonl        seconds since the start, at the same updates
checkpoint.pt       all it takes to go on
model.safetensors   the parameters, at the end (see `sam.train.summary`)
summary.json        how it ended
eval.json           what `eval` found last
tensorboard         events for TensorBoard, if that logger was asked for
figures             drawings, and their data beside them
.lock               while a process trains (see `sam.train.lock`), or after it was killed
"""

import shutil
import stat
from pathlib import Path

from sam.errors import ConfigError

CONFIG, CHECKPOINT, METRICS, TIMING = (
    "config.toml",
    "checkpoint.pt",
    "metrics.jsonl",
    "timing.jsonl",
)
PARAMETERS, SUMMARY, EVALUATION = "model.safetensors", "summary.json", "eval.json"
FIGURES, TENSORBOARD = "figures", "tensorboard"
LEARNING_CURVE, ACCESS_MAP = "learning_curve.png", "access_map.png"
# Only who holds the lock writes these.
OF_TRAINING = (CONFIG, CHECKPOINT, METRICS, TIMING, PARAMETERS, SUMMARY)


def check_places(folder: Path) -> None:
    """Meets at the start what would be in the way of a file that is written at the end.

    Raises:
        ConfigError: a folder has the name of a file, or the other way round.
    """
    for name in OF_TRAINING:
        _check_file(folder / name)
    check_figure_places(folder)


def check_figure_places(folder: Path) -> None:
    """What `check_places` does, for the figures alone."""
    figures = folder / FIGURES
    if figures.is_symlink() or figures.exists():
        if not figures.is_dir():
            raise ConfigError(f"{figures}: expected a folder to write to, got something else")
        for name in (LEARNING_CURVE, ACCESS_MAP):
            _check_file(figures / name)
            _check_file((figures / name).with_suffix(".json"))


def discard(folder: Path) -> None:
    """Removes what a run has written that ended before its first update; the lock stays."""
    for name in OF_TRAINING:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / TENSORBOARD, ignore_errors=True)


def _check_file(path: Path) -> None:
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    # A link is replaced, not what it leads to; logs are looked at where they are opened.
    if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
        raise ConfigError(f"{path}: expected a file that can be replaced, got something else")
