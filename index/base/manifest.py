"""The manifest of a base in several shards: which folders beside it they are, in `shards.json`."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

from index.base.checked_json import check_named, check_number, read_checked, write_checked
from index.base.header import NAME, SHARDS, read_header
from index.base.memory import BaseMemory
from index.checks import MOST, MOST_SLOTS
from index.errors import FileFormatError
from index.metric import Metric
from index.storage import StorageName

_KIND = "sparse-access-memory shards"
_FOLDER = re.compile(r"shard_[0-9]{1,6}")


class Shard(NamedTuple):
    """A base of its own, whose words have the slots after those of the shards before it."""

    folder: str  # its name
    num_words: int
    identity: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """What a base in several shards says of itself; see `Header`.

    Attributes:
        identity: of its words, however they are cut.
        shards: in the order of slots.
    """

    identity: str
    word_size: int
    dtype: StorageName
    metric: Metric
    index: str
    shards: tuple[Shard, ...]

    @property
    def num_words(self) -> int:
        """n, of all shards."""
        return sum(shard.num_words for shard in self.shards)

    @property
    def starts(self) -> list[int]:
        """The first slot of each shard, and n."""
        found = [0]
        for shard in self.shards:
            found.append(found[-1] + shard.num_words)
        return found

    @property
    def cut(self) -> int:
        """A number that other shards do not have, of 63 bits."""
        text = " ".join(shard.identity for shard in self.shards)
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1

    def write(self, folder: Path) -> None:
        """Writes the manifest to a folder, and has it on disk."""
        names = "identity", "word_size", "dtype", "metric", "index"
        content: dict[str, Any] = {name: getattr(self, name) for name in names}
        shards = [shard._asdict() for shard in self.shards]
        write_checked(folder / SHARDS, _KIND, content | {"shards": shards})

    def opened(self, path: Path, number: int, *, check: bool = False) -> BaseMemory:
        """One of the shards.

        Args:
            path: of the folder of the manifest.
            number: which.
            check: as `BaseMemory.open`.

        Raises:
            FileFormatError, FileNotFoundError: as `BaseMemory.open`; or it is not the one that the
                manifest names.
        """
        shard = self.shards[number]
        if shard.folder == ".":
            return BaseMemory.open(path, check=check)
        base = BaseMemory.open(path / shard.folder, check=check)
        names = "word_size", "dtype", "metric", "index"
        wanted = *(getattr(self, name) for name in names), shard.num_words, shard.identity
        given = *(getattr(base, name) for name in names), base.num_words, base.identity
        if wanted != given:
            raise FileFormatError(
                f"{base.path}: expected the shard that {SHARDS} names, {[*wanted]}, got {[*given]}"
            )
        return base


def read_manifest(path: Path) -> Manifest:
    """Reads and checks the manifest of a folder; a base in one piece is a shard of itself.

    Raises:
        FileNotFoundError, FileFormatError: as `index.base.header.read_header`.
    """
    if (path / NAME).is_file() or not (path / SHARDS).is_file():
        header = read_header(path)
        return Manifest(
            identity=header.identity,
            word_size=header.word_size,
            dtype=header.dtype,
            metric=header.metric,
            index=header.index,
            shards=(Shard(".", header.num_words, header.identity),),
        )
    return read_checked(path / SHARDS, _KIND, "the manifest of shards", _parsed)


def _parsed(content: dict[str, Any]) -> Manifest:
    check_number(content, "word_size", MOST)
    check_named(content, "dtype", get_args(StorageName))
    check_named(content, "metric", get_args(Metric))
    for name in ("identity", "index"):
        check_named(content, name)
    shards = []
    for shard in content["shards"]:
        check_number(shard, "num_words", MOST_SLOTS)
        for name in ("folder", "identity"):
            check_named(shard, name)
        if not _FOLDER.fullmatch(shard["folder"]):  # nothing outside of the folder
            raise ValueError(f"a shard named {shard['folder']!r}")
        shards.append(Shard(**shard))
    found = Manifest(**{**content, "shards": tuple(shards)})
    if not 1 <= found.num_words <= MOST_SLOTS or len({s.folder for s in shards}) < len(shards):
        raise ValueError("shards that are none")
    return found
