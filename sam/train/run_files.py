"""Reading and writing files so that nobody meets half of one, or waits for what is no file."""

import os
import stat
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from index.tensor_files import TEMPORARY
from index.tensor_files import atomic_file as atomic_file
from index.tensor_files import write_atomic as write_atomic
from sam.errors import ConfigError

STALE = 3600.0  # seconds; nobody takes so long for a file of a run


def is_temporary(path: Path) -> bool:
    """Whether this is the name of a file that `atomic_file` has not finished."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def remove_temporaries(folder: Path, names: Iterable[str], *, older_than: float = 0.0) -> None:
    """Removes what killed processes left of the files of these names.

    Args:
        folder: where they stand.
        names: of the files.
        older_than: seconds since the last byte was written; `STALE` where somebody else may be
            writing the same files just now, whose unfinished ones must stay.

    Raises:
        OSError: the folder cannot be read or changed.
    """
    now = time.time()
    for name in names:
        for path in folder.glob(f".{name}.*{TEMPORARY}"):
            with suppress(FileNotFoundError):  # finished or removed by somebody else
                # Without a limit no clock is asked: that of a file server may be fast.
                if not older_than or now - path.lstat().st_mtime > older_than:
                    path.unlink()


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
