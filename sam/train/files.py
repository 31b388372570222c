"""Reading and writing files so that nobody meets half of one, or waits for what is no file."""

import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from sam.errors import ConfigError

_SUFFIX = ".tmp"


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that takes the place of `path` when the block ends without an error.

    The bytes are on disk before the name changes, so `path` holds either its old content or the
    whole of the new one. The temporary file stands in the same folder, because a rename is atomic
    only within one file system, and it is removed when the block raises. Its name is its own, so
    that two processes which write one file do not write into each other's; what a killed one left
    behind is for `remove_temporaries`.

    Args:
        path: the file to write or replace. Its folder must exist.

    Yields:
        The temporary file, open for writing bytes.

    Raises:
        OSError: the folder is missing, or the disk is full or read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_SUFFIX}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Ctrl-C included: whatever stopped the writing, the half-written file goes.
        with suppress(OSError):  # what stopped it is to be told, not that no file could be made
            temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes `content` to `path` (UTF-8 for text) as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def is_temporary(path: Path) -> bool:
    """Whether this is the name of a file that `atomic_file` has not finished."""
    return path.name.startswith(".") and path.name.endswith(_SUFFIX)


def remove_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Removes what killed processes left of the files of these names.

    Nobody else may be writing them: their unfinished file would be gone.
    """
    for name in names:
        for path in folder.glob(f".{name}.*{_SUFFIX}"):
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
