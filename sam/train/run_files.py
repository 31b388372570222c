"""Files of a run: written whole or not at all, and read only if they are regular files."""

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

STALE = 3600.0  # seconds; writing a file of a run never takes so long


def is_temporary(path: Path) -> bool:
    """Whether `atomic_file` has left this file unfinished, by its name."""
    return path.name.startswith(".") and path.name.endswith(TEMPORARY)


def remove_temporaries(folder: Path, names: Iterable[str], *, older_than: float = 0.0) -> None:
    """Removes unfinished files that killed processes have left.

    Args:
        folder: where they are.
        names: of the finished files.
        older_than: seconds since the last write. `STALE` where another process may be writing
            the same files now: its unfinished ones must stay.

    Raises:
        OSError: the folder cannot be read or changed.
    """
    now = time.time()
    for name in names:
        for path in folder.glob(f".{name}.*{TEMPORARY}"):
            with suppress(FileNotFoundError):  # finished or removed by another process
                # Without a limit the time is not compared: a file server's clock may be ahead.
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
