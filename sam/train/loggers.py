"""Loggers of a run: a file of JSON lines, and others by name if asked for."""

import json
import os
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from sam.errors import CheckpointError, ConfigError, unknown_name
from sam.train.run_files import check_regular
from sam.train.tensorboard_logger import TensorBoard
from sam.train.wandb_logger import WandB

_CHUNK = 2**20


class Logger(Protocol):
    """Receives the records of a run, in the order of their updates."""

    def log(self, record: dict[str, Any]) -> None:
        """Logs one record; its "update" is the number of the update."""
        ...

    def close(self) -> None:
        """Flushes and closes the files."""
        ...


class Written(NamedTuple):
    """What a log held at some moment."""

    length: int  # in bytes
    crc32: int  # of them


NOTHING = Written(0, 0)


def check_log(path: Path, kept: Written) -> None:
    """Raises CheckpointError unless a log begins with what it held at the checkpoint.

    Raises:
        ConfigError: it is no regular file.
        OSError: it cannot be read.
    """
    if not path.exists():
        size = crc32 = 0
    else:
        check_regular(path)
        size, crc32, left = path.stat().st_size, 0, kept.length
        with path.open("rb") as file:
            while left and (chunk := file.read(min(left, _CHUNK))):
                crc32, left = zlib.crc32(chunk, crc32), left - len(chunk)
    if size < kept.length:
        raise CheckpointError(
            f"{path}: expected at least the {kept.length} bytes that the checkpoint counts, "
            f"got {size}"
        )
    if crc32 != kept.crc32:
        raise CheckpointError(
            f"{path}: expected the {kept.length} bytes that the run had written at its checkpoint, "
            f"got others: they have been altered since"
        )


class JsonLines:
    """A file of one JSON object per line, each line handed to the system when it is logged.

    Args:
        path: the file.
        kept: the beginning to keep; the rest is cut, such as a line torn in a crash.

    Raises:
        CheckpointError: the file is shorter, or begins with other bytes.
        OSError: the file cannot be written.
    """

    def __init__(self, path: Path, kept: Written = NOTHING) -> None:
        check_log(path, kept)
        self._file = path.open("ab")
        self._file.truncate(kept.length)
        self._length, self._crc32 = kept

    def log(self, record: dict[str, Any]) -> None:
        """Appends one line."""
        line = json.dumps(record).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._length += len(line)
        self._crc32 = zlib.crc32(line, self._crc32)

    def sync(self) -> Written:
        """Waits until all lines are on disk; returns their length and checksum."""
        os.fsync(self._file.fileno())
        return Written(self._length, self._crc32)

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


@runtime_checkable
class TakesSettings(Protocol):
    """A logger that wants to know the settings of the run."""

    def settings(self, tables: dict[str, Any]) -> None:
        """Called once, before the first record, with `sam.train.settings.to_tables`."""
        ...


def tell_settings(logger: Logger, tables: dict[str, Any]) -> None:
    """Gives a logger the settings of the run, if it takes them."""
    if isinstance(logger, TakesSettings):
        logger.settings(tables)


_LOGGERS: dict[str, Callable[[Path, int], Logger]] = {
    "tensorboard": TensorBoard,
    "wandb": WandB,
}


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
