"""Where the numbers of a run go: a JSON line per record, TensorBoard beside it if asked for."""

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

from sam.errors import CheckpointError, ConfigError, unknown_name
from sam.train.extras import import_extra


class Logger(Protocol):
    """Takes the records of a run, in the order of their updates."""

    def log(self, record: dict[str, Any]) -> None:
        """Takes one record; its "update" is the number of the update."""
        ...

    def close(self) -> None:
        """Writes what is not yet written and lets go of the files."""
        ...


class JsonLines:
    """A file of one JSON object per line, each line handed to the system when it is logged.

    Args:
        path: the file.
        length: bytes to keep of what is there; the rest, a line torn in a crash included, is cut.

    Raises:
        CheckpointError: the file is shorter than `length`.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, length: int = 0) -> None:
        if length:
            size = path.stat().st_size if path.exists() else 0
            if size < length:
                raise CheckpointError(
                    f"{path}: expected at least the {length} bytes that the checkpoint counts, "
                    f"got {size}"
                )
        self._file = path.open("ab")
        self._file.truncate(length)

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line."""
        self._file.write(json.dumps(record).encode() + b"\n")
        self._file.flush()

    def sync(self) -> int:
        """Waits until all lines are on disk and returns the file's length in bytes."""
        os.fsync(self._file.fileno())
        return os.fstat(self._file.fileno()).st_size

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


class TensorBoard:
    """Scalars for TensorBoard, in the folder `tensorboard` of the run.

    Args:
        folder: the run's folder.
        update: the run goes on after this update; what an earlier try wrote beyond it is hidden.

    Raises:
        BackendMissingError: tensorboard is not installed.
    """

    def __init__(self, folder: Path, update: int) -> None:
        import_extra("tensorboard")
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"), purge_step=update + 1)

    def log(self, record: dict[str, Any]) -> None:
        """Adds every number of the record but the update, which is the horizontal axis."""
        for name, value in record.items():
            if name != "update" and isinstance(value, int | float):
                self._writer.add_scalar(name, value, record["update"])

    def close(self) -> None:
        """Writes what is buffered."""
        self._writer.close()


_LOGGERS: dict[str, Callable[[Path, int], Logger]] = {"tensorboard": TensorBoard}


def available_loggers() -> tuple[str, ...]:
    """Lists the loggers a run may have beside metrics.jsonl, sorted."""
    return tuple(sorted(_LOGGERS))


def check_loggers(names: Iterable[str]) -> None:
    """Raises UnknownNameError if there is no logger of one of these names."""
    for name in names:
        if name not in _LOGGERS:
            raise unknown_name("train.loggers", name, _LOGGERS)


def make_logger(name: str, folder: Path, update: int) -> Logger:
    """Builds a logger for a run that goes on after `update`.

    Raises:
        UnknownNameError: there is no such logger.
    """
    check_loggers((name,))
    return _LOGGERS[name](folder, update)


def register_logger(name: str, make: Callable[[Path, int], Logger]) -> None:
    """Adds a logger of your own: `make(run_folder, update)` returns it.

    Raises:
        ConfigError: the name is taken.
    """
    if name in _LOGGERS:
        raise ConfigError(f"logger: expected a new name, got {name!r}, which is registered already")
    _LOGGERS[name] = make


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Reads the whole lines of a log; a last line without its end, torn in a crash, is left out.

    Raises:
        ConfigError: a whole line is not JSON.
        OSError: the file cannot be read.
    """
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise ConfigError(f"{path}: expected a JSON object per line, got {error}") from error
