"""Saving a run and resuming it, bit for bit."""

import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from sam.errors import CheckpointError, ConfigError
from sam.train.best import Best
from sam.train.checkpoint_content import (
    Content,
    check_fall_back,
    check_model,
    check_optimizer,
    check_records,
    check_rng,
)
from sam.train.coerce import coerce, shown
from sam.train.curriculum import CurriculumState
from sam.train.fall_back import FallBackState, as_content
from sam.train.loggers import Written
from sam.train.loop import Progress
from sam.train.run_files import atomic_file, check_regular

FORMAT = "sparse-access-memory checkpoint 2"
_FAMILY = FORMAT.rstrip("0123456789")
# What zipfile and torch.load raise for damaged bytes. The list is long, since a broken zip header
# can ask for anything, such as a position before the start of the file.
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
    AssertionError,
    OverflowError,
    MemoryError,
)


class Checkpoint(NamedTuple):
    """A run after some update. Data are not saved: seed and update number determine them."""

    config: str  # the resolved settings, TOML
    progress: Progress
    model: dict[str, Any]
    optimizer: dict[str, Any]
    rng: torch.Tensor  # torch's global generator on the CPU
    logs: dict[str, Written]  # what each log file held at this update
    seconds: float  # training time so far
    # What only some runs have, see `sam.train.learner`:
    average: dict[str, Any] | None = None  # averaged parameters
    best: dict[str, Any] | None = None  # parameters of the best evaluation
    carried: Sequence[dict[str, Any]] | None = None  # parts of the carried state, of each process
    device_rng: torch.Tensor | None = None  # the generator of the GPU
    fall_back: FallBackState | None = None  # where a collapse leads back to

    @property
    def result(self) -> dict[str, Any]:
        """The parameters that the run results in."""
        found = self.best if self.best is not None else self.average
        return self.model if found is None else found


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint so that `path` always holds a whole one, the old or the new."""
    content = {name: part for name, part in checkpoint._asdict().items() if part is not None}
    progress, curriculum = checkpoint.progress, checkpoint.progress.curriculum
    # Plain containers only, so that loading needs to trust no pickled class.
    content["progress"] = {
        "update": progress.update,
        "errors": list(progress.errors),
        "curriculum": None if curriculum is None else [curriculum.limit, list(curriculum.window)],
    }
    if progress.best is not None:
        content["progress"]["best"] = list(progress.best)
    if checkpoint.fall_back is not None:
        content["fall_back"] = as_content(checkpoint.fall_back)
    content["logs"] = {name: list(written) for name, written in checkpoint.logs.items()}
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
    content = _read(path)
    try:
        checked: Any = coerce(content, Content, str(path))
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    with naming(path):
        check_records(checked["seconds"], checked["logs"])
    curriculum, best = checked["progress"]["curriculum"], checked["progress"].get("best")
    progress = Progress(
        checked["progress"]["update"],
        checked["progress"]["errors"],
        None if curriculum is None else CurriculumState(*curriculum),
        None if best is None else Best(*best),
    )
    logs = {name: Written(*written) for name, written in checked["logs"].items()}
    content = {name: checked[name] for name in Checkpoint._fields if name in checked}
    found = checked.get("fall_back")
    content["fall_back"] = (
        None if found is None else FallBackState(*(found[name] for name in FallBackState._fields))
    )
    return Checkpoint(**content | {"progress": progress, "logs": logs})


def restore(
    checkpoint: Checkpoint, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer | None
) -> None:
    """Loads a checkpoint's parameters and the optimizer's state; without one, only the result's.

    Raises:
        CheckpointError: they belong to another model or optimizer; nothing has been changed.
    """
    with naming(path):
        for parameters in (checkpoint.model, checkpoint.average, checkpoint.best):
            if parameters is not None:
                check_model(parameters, model)
        if checkpoint.fall_back is not None:
            check_fall_back(checkpoint.fall_back, model)
        if optimizer is not None:
            check_optimizer(checkpoint.optimizer, optimizer, checkpoint.progress.update)
            check_rng(checkpoint.rng)
    if optimizer is None:
        model.load_state_dict(checkpoint.result)
        return
    model.load_state_dict(checkpoint.model)
    # `check_optimizer` has found the settings to be the same.
    groups = optimizer.state_dict()["param_groups"]
    state = checkpoint.optimizer["state"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    torch.set_rng_state(checkpoint.rng)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Turns a ConfigError about content into a CheckpointError that names the file."""
    try:
        yield
    except ConfigError as error:
        raise CheckpointError(f"{path}: {error}") from error


def _read(path: Path) -> dict[str, Any]:
    """Reads the content of a file of this format; its fields are not checked yet."""
    try:
        check_regular(path)
    except ConfigError as error:
        raise CheckpointError(str(error)) from error
    with path.open("rb"):
        pass  # no permission to read is an OSError, not damage
    try:
        # torch.load skips the checksums of the zip archive, and would not notice a flipped bit.
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Torch's own text also says how to load such a file anyway.
        raise CheckpointError(
            f"{path}: expected a checkpoint, got a file damaged, or with other things in it than "
            f"plain data, which could run code on loading"
        ) from error
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: expected a checkpoint, got a file cut short or damaged ({_first_line(error)})"
        ) from error
    if damaged:
        raise CheckpointError(f"{path}: expected a checkpoint, got a file damaged at {damaged}")
    found = content.pop("format", None) if isinstance(content, dict) else None
    if not isinstance(content, dict) or found != FORMAT:
        got = "another file of torch"
        if isinstance(found, str) and found.startswith(_FAMILY):
            got = f"{shown(found)} of another version of this library; go on with that version"
        raise CheckpointError(f"{path}: expected a {FORMAT!r}, got {got}")
    return content


def _first_line(error: BaseException) -> str:
    lines = str(error).splitlines()
    return lines[0] if lines else type(error).__name__
