"""One process at a time trains in a run folder."""

import errno
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sam.errors import RunInUseError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK = ".lock"
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)


@contextmanager
def run_lock(folder: Path) -> Iterator[None]:
    """Locks a run folder for this process; the system releases the lock when the process dies.

    The folder is made if it is missing. At the end the lock file is removed, and so are the folders
    that were made, if they are empty: a refused run leaves nothing behind.

    Args:
        folder: the run's folder.

    Raises:
        RunInUseError: another process holds it.
        OSError: the folder cannot be made or written to.
    """
    made = _make(folder)
    try:
        descriptor = _locked(folder)
        try:
            yield
        finally:
            with suppress(OSError):  # its folder may be gone
                (folder / LOCK).unlink()
            os.close(descriptor)
    finally:
        for path in made:
            with suppress(OSError):  # it is not empty
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes a folder and those above it; returns the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(folder: Path) -> int:
    """The descriptor of the folder's lock file, locked; closing it releases the lock."""
    path = folder / LOCK
    # Follows no link out of the folder, and waits for no pipe.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        descriptor = os.open(path, flags, 0o666)
        try:
            if not _lock(descriptor):
                raise RunInUseError(
                    f"{folder}: expected a run that no process trains, got one that another "
                    f"process trains now"
                )
            # The previous holder may have removed the file between open and lock.
            if _is_at(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Locks an open file; returns whether that was possible."""
    if fcntl is None:
        import msvcrt

        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        # Some network file systems have no locks; training must be possible there too.
        warnings.warn(
            "run folder: expected a file system with locks, got one without; nothing keeps two "
            "processes from training in one folder",
            stacklevel=2,
        )
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.lstat(path))
    except FileNotFoundError:
        return False
