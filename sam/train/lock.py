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
    """Holds a run folder for this process; the system lets go of it when the process dies.

    The folder is made if it is missing. The file that is locked is removed at the end, and so are
    the folders that were made if nothing was put into them: what is refused leaves nothing behind.

    Args:
        folder: the run's folder.

    Raises:
        RunInUseError: another process holds it.
        OSError: the folder cannot be made or written to.
    """
    made = _make(folder)
    try:
        place = _locked(folder)
        try:
            yield
        finally:
            with suppress(OSError):  # gone with its folder, perhaps
                (folder / LOCK).unlink()
            os.close(place)
    finally:
        for path in made:
            with suppress(OSError):  # there is something in it now
                path.rmdir()


def _make(folder: Path) -> list[Path]:
    """Makes a folder and those above it; returns the new ones, the innermost first."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    return missing


def _locked(folder: Path) -> int:
    """The descriptor of the folder's lock file, locked; closing it lets go."""
    path = folder / LOCK
    # No link is followed out of the folder, and no pipe waited for.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    while True:
        place = os.open(path, flags, 0o666)
        try:
            if not _lock(place):
                raise RunInUseError(
                    f"{folder}: expected a run that no process trains, got one that another "
                    f"process trains now"
                )
            # Who held it before may have removed the file between the opening and the locking.
            if _is_at(place, path):
                return place
        except BaseException:
            os.close(place)
            raise
        os.close(place)


def _lock(place: int) -> bool:
    """Locks an open file if nobody else has."""
    if fcntl is None:
        import msvcrt

        try:
            msvcrt.locking(place, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        except OSError:
            return False
        return True
    try:
        fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        # Some network file systems are mounted without locks; a run must be possible there.
        warnings.warn(
            "run folder: expected a file system with locks, got one without; nothing keeps two "
            "processes from training in one folder",
            stacklevel=2,
        )
    return True


def _is_at(place: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(place), os.lstat(path))
    except FileNotFoundError:
        return False
