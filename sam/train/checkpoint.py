"""Saving a run and going on with it, bit for bit."""

import pickle
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from sam.errors import CheckpointError
from sam.train.curriculum import CurriculumState
from sam.train.files import atomic_file
from sam.train.loop import Progress

FORMAT = "sparse-access-memory checkpoint 1"
# What zipfile and torch.load raise for bytes that are not what they should be. A broken zip header
# can ask for anything, a place before the start of the file included, so the list is long.
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    OSError,
    RuntimeError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    OverflowError,
    MemoryError,
)


class Checkpoint(NamedTuple):
    """A run after some update. Data need no place in it: they follow from seed and update."""

    config: str  # the resolved settings, TOML
    progress: Progress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    rng: torch.Tensor  # torch's global generator on the CPU
    log_bytes: dict[str, int]  # length of each log file at this update
    seconds: float  # training time so far


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint so that `path` always holds a whole one, the old or the new."""
    content = checkpoint._asdict()
    curriculum = checkpoint.progress.curriculum
    # Plain containers only, so that loading needs to trust no pickled class.
    content["progress"] = {
        "update": checkpoint.progress.update,
        "errors": list(checkpoint.progress.errors),
        "curriculum": None if curriculum is None else [curriculum.limit, list(curriculum.window)],
    }
    with atomic_file(path) as file:
        torch.save({"format": FORMAT} | content, file)


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint.

    Args:
        path: a file written by `save_checkpoint`.

    Returns:
        Its content, tensors on the CPU.

    Raises:
        CheckpointError: the file is cut short, damaged, or something else.
        OSError: the file cannot be opened.
    """
    with path.open("rb"):
        pass  # a missing file or a folder is an OSError, not damage
    try:
        # torch.load skips the checksums of the zip archive; a flipped bit would go unseen.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, got a file cut short or damaged ({_first_line(error)})"
        ) from error
    if damaged:
        raise CheckpointError(f"{path}: expected a checkpoint, got a file damaged at {damaged}")
    if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
        raise CheckpointError(f"{path}: expected a {FORMAT!r}, got another file of torch")
    try:
        progress = content.pop("progress")
        limit_window = progress.pop("curriculum")
        curriculum = None
        if limit_window is not None:
            limit, window = limit_window
            curriculum = CurriculumState(limit, tuple(tuple(entry) for entry in window))
        errors = tuple(progress.pop("errors"))
        return Checkpoint(
            progress=Progress(errors=errors, curriculum=curriculum, **progress), **content
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{path}: expected the fields of a {FORMAT!r}, {error}") from error


def restore(
    checkpoint: Checkpoint, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> None:
    """Puts a checkpoint's parameters, and the optimizer's state, in their places.

    Raises:
        CheckpointError: they are of another model or optimizer.
    """
    try:
        model.load_state_dict(checkpoint.model)
        if optimizer is not None:
            optimizer.load_state_dict(checkpoint.optimizer)
            torch.set_rng_state(checkpoint.rng)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(
            f"{path}: expected the parameters of this run's model, got others "
            f"({_first_line(error)})"
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
