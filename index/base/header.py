"""The header of a base: what its files are, in `base.json`, with a checksum of its own."""

import errno
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from index.base.checked_json import check_named, check_number, read_checked, write_checked
from index.base.row_file import RowsWritten
from index.checks import MOST, MOST_SLOTS
from index.errors import FileFormatError
from index.metric import Metric
from index.storage import StorageName

NAME, SHARDS = "base.json", "shards.json"  # of a base, and of one in several parts
_KIND = "sparse-access-memory base"
_FILE = re.compile(r"[a-z][a-z0-9_]*\.(npy|faiss)")


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
        write_checked(folder / NAME, _KIND, self._content())

    def _content(self) -> dict[str, Any]:
        names = ("identity", "num_words", "word_size", "dtype", "metric", "index", "tables")
        content: dict[str, Any] = {name: getattr(self, name) for name in names}
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
    if not (folder / NAME).is_file():
        if (folder / SHARDS).is_file():
            raise FileFormatError(
                f"{folder}: expected a base, got one of several shards; ShardedBase.open opens it "
                "in several processes, open_base in one"
            )
        raise FileFormatError(
            f"{folder}: expected a base, got a folder without {NAME}: half built, or something else"
        )
    return read_checked(folder / NAME, _KIND, "the header of a base", _parsed)


def _parsed(content: dict[str, Any]) -> Header:
    """The header with this content; raises ValueError, or what Python does, where it is none."""
    check_number(content, "num_words", MOST_SLOTS)
    check_number(content, "word_size", MOST)
    check_named(content, "dtype", get_args(StorageName))
    check_named(content, "metric", get_args(Metric))
    for name in ("identity", "index"):
        check_named(content, name)
    files = {}
    for name, file in content["files"].items():
        if not _FILE.fullmatch(name):  # nothing outside of the folder
            raise ValueError(f"a file named {name!r}")
        file["shape"] = tuple(file["shape"])
        files[name] = RowsWritten(**file)
    if not isinstance(content["tables"], dict):
        raise ValueError("tables that are none")
    return Header(**{**content, "files": files})
