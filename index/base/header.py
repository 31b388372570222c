"""The header of a base: what its files are, in `base.json`, with a checksum of its own."""

import errno
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from index.base.row_file import RowsWritten
from index.checks import MOST, MOST_SLOTS
from index.errors import FileFormatError
from index.metric import Metric
from index.storage import StorageName

NAME = "base.json"
_FORMAT, _VERSION = "sparse-access-memory base", 1
_FILE = re.compile(r"[a-z][a-z0-9_]*\.(npy|faiss)")
_LONGEST = 2**22  # bytes of a header


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a base says of itself.

    Attributes:
        identity: of this base and no other, at random.
        num_words: n.
        word_size: W.
        dtype: how words are kept.
        metric: that the index was made for.
        index: its kind.
        tables: numbers that the index needs, for example how many lists a query looks into.
        files: all files beside the header; `sha256` of a file that is not `.npy` is of all of it,
            and its shape is empty.
    """

    identity: str
    num_words: int
    word_size: int
    dtype: StorageName
    metric: Metric
    index: str
    tables: dict[str, int | float | str] = field(default_factory=dict)
    files: dict[str, RowsWritten] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files.values())

    def write(self, folder: Path) -> None:
        """Writes the header to a folder, and has it on disk."""
        content = self._content()
        content["sha256"] = _checksum(content)
        with (folder / NAME).open("x", encoding="utf-8") as file:
            json.dump(content, file, indent=1)
            file.flush()
            os.fsync(file.fileno())

    def _content(self) -> dict[str, Any]:
        names = ("identity", "num_words", "word_size", "dtype", "metric", "index", "tables")
        content: dict[str, Any] = {"format": _FORMAT, "version": _VERSION}
        content |= {name: getattr(self, name) for name in names}
        files = {name: file._asdict() for name, file in self.files.items()}
        for file in files.values():
            file["shape"] = [*file["shape"]]
        return content | {"files": files}


def read_header(folder: Path) -> Header:
    """Reads and checks the header of a base.

    Raises:
        FileNotFoundError: there is nothing at the path.
        FileFormatError: there is something else than a base, or one that is damaged or newer.
    """
    if not folder.exists():
        raise FileNotFoundError(
            errno.ENOENT, "expected the folder of a base, got nothing", str(folder)
        )
    if not folder.is_dir():
        raise FileFormatError(f"{folder}: expected the folder of a base, got a file")
    path = folder / NAME
    if not path.is_file():
        raise FileFormatError(
            f"{folder}: expected a base, got a folder without {NAME}: half built, or something else"
        )
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("one that is too long")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.get("format") != _FORMAT:
            raise ValueError("one of something else")
        if content.get("version") != _VERSION:
            known = f"where this release knows {_VERSION}"
            raise ValueError(f"version {content.get('version')!r}, {known}")
        if content.pop("sha256", None) != _checksum(content):
            raise ValueError("another checksum than its own")
        return _parsed(content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"{path}: expected the header of a base, got {what}") from error


def _checksum(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _parsed(content: dict[str, Any]) -> Header:
    """The header with this content; raises ValueError, or what Python does, where it is none."""
    sizes = {"num_words": MOST_SLOTS, "word_size": MOST}
    for name, most in sizes.items():
        if type(content[name]) is not int or not 1 <= content[name] <= most:
            raise ValueError(f"{name} {content[name]!r}")
    for name, known in (("dtype", get_args(StorageName)), ("metric", get_args(Metric))):
        if content[name] not in known:
            raise ValueError(f"{name} {content[name]!r}")
    for name in ("identity", "index"):
        if not isinstance(content[name], str) or not content[name]:
            raise ValueError(f"{name} {content[name]!r}")
    files = {}
    for name, file in content["files"].items():
        if not _FILE.fullmatch(name):  # nothing outside of the folder
            raise ValueError(f"a file named {name!r}")
        file["shape"] = tuple(file["shape"])
        files[name] = RowsWritten(**file)
    del content["format"], content["version"]
    if not isinstance(content["tables"], dict):
        raise ValueError("tables that are none")
    return Header(**{**content, "files": files})
