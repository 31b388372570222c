"""Reading and writing files so that nobody meets half of one, or waits for what is no file."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from index.files import TEMPORARY, atomic_file, write_atomic
from sam.errors import ConfigError

__all__ = [
    "atomic_file",
    "check_regular",
    "is_temporary",
    "read_file",
    "remove_temporaries",
    "write_atomic",
]


def is_temporary(path: Path) -> bool:
    """Whether this is the name of a file that `atomic_file` has not finished."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Removes what killed processes left of the files of these names.

    Nobody else may be writing them: their unfinished file would be gone.
    """
    for name in names:
        for path in folder.glob(f".{name}.*{TEMPORARY}"):
            path.unlink(missing_ok=True)


def check_regular(path: str | Path) -> None:
    """Raises ConfigError for a pipe, socket or device: reading one may never end.

    Raises:
        OSError: there is nothing, or a folder.
    """
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(21, "Is a directory", str(path))
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path}: expected a file, got a pipe, socket or device")


def read_file(path: str | Path) -> bytes:
    """The content of a regular file; others raise as in `check_regular`."""
    check_regular(path)
    return Path(path).read_bytes()
