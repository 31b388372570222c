"""A folder that is whole or not there: written beside its place, and put there by one rename."""

import ctypes
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from index.tensor_files import TEMPORARY

try:
    import fcntl
except ImportError:  # pragma: no cover - not on Windows
    fcntl = None

_EXCHANGE, _HERE = 2, -100  # RENAME_EXCHANGE, AT_FDCWD
_SPARE = 16 * 2**20  # bytes left free on the disk


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yields a new temporary folder that takes the place of `path` unless the block raises.

    Whatever is at `path` stays until all files are on disk; then both folders change places in one
    step, and the old one is removed. So a kill at any moment leaves the old folder or the new one.
    What a killed process has left beside it, the next call for the same path removes. Who has
    mapped files of the old folder goes on reading those.

    Where the system cannot exchange two names (others than Linux), there is a moment in which
    there is nothing at `path`, and the old folder has a temporary name beside it.

    Raises:
        OSError: the folder above is missing, or the disk is full or read-only.
    """
    path = path.absolute()
    _remove_left_over(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    temporary.mkdir()
    try:
        with _held(temporary):
            yield temporary
            _sync(temporary)
            _put(temporary, path)
            _sync(path.parent)
    finally:  # what did not come to its place, or the old folder
        shutil.rmtree(temporary, ignore_errors=True)


def check_space(folder: Path, size: int) -> None:
    """Raises OSError unless a disk has room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if size + _SPARE > free:
        raise OSError(
            errno.ENOSPC,
            f"expected {size + _SPARE} bytes free on the disk, got {free}",
            str(folder),
        )


def _put(new: Path, path: Path) -> None:
    """Renames, exchanging what is there."""
    if not path.exists():
        new.rename(path)
        return
    exchange = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if exchange is not None:
        names = os.fsencode(new), os.fsencode(path)
        if exchange(_HERE, names[0], _HERE, names[1], _EXCHANGE) == 0:
            return
    old = new.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    path.rename(old)
    new.rename(path)
    shutil.rmtree(old, ignore_errors=True)


def _remove_left_over(path: Path) -> None:
    """Removes temporary folders of this path whose process has ended."""
    if fcntl is None:
        return
    for other in path.parent.glob(f".{_escaped(path.name)}.*{TEMPORARY}"):
        with suppress(OSError):
            place = os.open(other, os.O_RDONLY)
            try:
                fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises while it is written
                shutil.rmtree(other, ignore_errors=True)
            finally:
                os.close(place)


def _escaped(name: str) -> str:
    """A name for `glob` to take as it is."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Holds a lock that the system releases when this process ends."""
    if fcntl is None:
        yield
        return
    place = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(place)


def _sync(folder: Path) -> None:
    """Has the names in a folder on disk; its files are there already."""
    with suppress(OSError):  # some file systems do not know it
        place = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(place)
        finally:
            os.close(place)
