"""Reads the files of a bAbI release from its archive or folder: regular files of bounded size.

An archive may come from anywhere. Nothing is written to disk, links are not followed, and neither a
file nor the data before it in the archive may be much larger than in the real release.
"""

import bz2
import gzip
import lzma
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

# The release has 201 entries of at most 2.4 MiB, 65 MiB in all.
LARGEST_FILE = 32 * 2**20
LARGEST_ARCHIVE = 2**30
MOST_ENTRIES = 10_000

_OPENERS: dict[bytes, Callable[[Path, Any], Any]] = {
    b"\xfd7zXZ\x00": lzma.open,
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
}


class UnfitError(ValueError):
    """A release contains something that the real one does not."""


class Entry(NamedTuple):
    """One file of a release."""

    name: str  # with its folder
    read: Callable[[], str]  # the content; call it before the next entry is taken


def entries(source: Path) -> Iterator[Entry]:
    """Yields the entries of an archive, in its order, or of a folder.

    Raises:
        UnfitError: there are too many, or too much has to be unpacked for the next one. `read`
            raises it for what is no regular file, is too large, or has an unsafe name.
        tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError, ValueError, LookupError,
            RecursionError: the archive is damaged.
    """
    if source.is_dir():
        for path in sorted(source.glob("*/qa*.txt")):
            yield Entry(path.as_posix(), lambda path=path: _read_file(path))
        return
    with source.open("rb") as file:
        start = file.read(6)
    opener = next((found for magic, found in _OPENERS.items() if start.startswith(magic)), open)
    with opener(source, "rb") as unpacked:
        bounded: Any = _Bounded(unpacked)
        with tarfile.open(fileobj=bounded, mode="r:") as archive:
            for count, member in enumerate(archive, 1):
                if count > MOST_ENTRIES:
                    raise UnfitError(f"expected at most {MOST_ENTRIES} entries, got more")
                if member.size < 0:  # tarfile would read the same entry again and again
                    raise UnfitError(f"{member.name!r}: expected a size, got {member.size}")
                yield Entry(member.name, lambda member=member: _read_member(archive, member))


def _read_file(path: Path) -> str:
    """Reads a file of a folder; links are allowed, since the folder's owner made them."""
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise UnfitError(f"{path.name}: expected a regular file, got {_kind(status.st_mode)}")
    _check_size(path.name, status.st_size)
    return path.read_text(encoding="utf-8")


def _read_member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    name, parts = member.name, PurePosixPath(member.name).parts
    if name.startswith("/") or ".." in parts:
        raise UnfitError(f"{name!r}: expected a name inside of the archive, got one outside")
    if not member.isreg() or member.issparse():
        raise UnfitError(f"{name!r}: expected a regular file, got {_member_kind(member)}")
    _check_size(repr(name), member.size)
    content = archive.extractfile(member)
    assert content is not None  # of a regular file it never is
    return content.read().decode("utf-8")


def _check_size(name: str, size: int) -> None:
    if size > LARGEST_FILE:
        raise UnfitError(f"{name}: expected at most {LARGEST_FILE:,} bytes, got {size:,}")


def _kind(mode: int) -> str:
    return "a folder" if stat.S_ISDIR(mode) else "a pipe, socket or device"


def _member_kind(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return f"a link to {member.linkname!r}"
    if member.isdir():
        return "a folder"
    return "a sparse file" if member.issparse() else "a pipe or device"


class _Bounded:
    """A stream of which at most `LARGEST_ARCHIVE` bytes are unpacked."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        if size < 0:
            raise UnfitError(f"expected a size, got {size}")
        self._check(self._file.tell() + size)
        return self._file.read(size)

    def seek(self, place: int) -> int:
        self._check(place)
        return self._file.seek(place)

    def tell(self) -> int:
        return self._file.tell()

    def _check(self, end: int) -> None:
        if end > LARGEST_ARCHIVE:
            raise UnfitError(f"expected at most {LARGEST_ARCHIVE:,} bytes unpacked, got more")
