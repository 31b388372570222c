"""`JoinedBase`: a base in several shards, all of which one process opens."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.base.header import NAME, SHARDS
from index.base.in_shards import BaseInShards
from index.base.manifest import Manifest, read_manifest
from index.base.memory import BaseMemory
from index.base.merge import best_of_parts
from index.errors import FileFormatError
from index.neighbors import Neighbors


class JoinedBase(BaseInShards):
    """Words in the folders of several shards on this machine, searched one shard after another.

    Nobody else takes part in a call, so several processes may each open all shards: they are mapped
    read-only, and those on one machine share what is in memory. Where each process is to hold a
    shard of its own there is `ShardedBase`.

    Attributes:
        path: of the folder.
        shards: in the order of slots.
    """

    def __init__(self, path: Path, manifest: Manifest, shards: list[BaseMemory]) -> None:
        super().__init__(path, manifest)
        self.shards, self._starts = shards, manifest.starts

    @classmethod
    def open(cls, path: str | Path, *, check: bool = False) -> "JoinedBase":
        """Maps all shards into memory.

        Args:
            path: the folder that `reshard` has written, or a base in one piece.
            check: as `BaseMemory.open`.

        Raises:
            FileNotFoundError, FileFormatError: as `BaseMemory.open`; or a shard is not here.

        Cost: that of `BaseMemory.open` for each shard.
        """
        path = Path(path).resolve()
        manifest = read_manifest(path)
        for shard in manifest.shards:
            if not (path / shard.folder).exists():
                raise FileFormatError(
                    f"{path}: expected all {len(manifest.shards)} shards on this machine, got none "
                    f"named {shard.folder}; ShardedBase.open opens one in each process"
                )
        numbers = range(len(manifest.shards))
        return cls(path, manifest, [manifest.opened(path, n, check=check) for n in numbers])

    @property
    def nbytes(self) -> int:
        """Bytes of all files."""
        return sum(shard.nbytes for shard in self.shards)

    @property
    def resident(self) -> int:
        """Bytes of them that lie in memory now, shared by all processes."""
        return sum(shard.resident for shard in self.shards)

    def __repr__(self) -> str:
        size = f"num_words={self.num_words}, word_size={self.word_size}, dtype={self.dtype!r}"
        parts = f"{len(self.shards)} shards"
        return f"JoinedBase({str(self.path)!r}, {size}, index={self.index!r}, {parts})"

    def nearest(
        self, queries: Tensor, k: int, root_eps: Tensor, *, exact: bool = False
    ) -> Neighbors:
        found = []
        for shard, first in zip(self.shards, self._starts[:-1], strict=True):
            near = shard.nearest(queries, k, root_eps, exact=exact)
            slots = torch.where(near.slots < 0, near.slots, near.slots + first)
            found.append(near._replace(slots=slots))
        return best_of_parts(found, k)

    def _fetch(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        found = torch.empty(len(slots), self.word_size, dtype=dtype)
        for shard, first in zip(self.shards, self._starts[:-1], strict=True):
            here = (slots >= first) & (slots < first + len(shard))
            if bool(here.any()):
                found[here] = shard.words_at(slots[here] - first, dtype=dtype)
        return found

    def __reduce__(self) -> tuple[Any, ...]:
        return _reopened, (str(self.path), self.identity)


def open_base(path: str | Path, *, check: bool = False) -> BaseMemory | JoinedBase:
    """A base in one piece, or all shards of one that is cut, opened by this process.

    Arguments and errors are those of `BaseMemory.open` and `JoinedBase.open`.
    """
    cut = (Path(path) / SHARDS).is_file() and not (Path(path) / NAME).is_file()
    return (JoinedBase if cut else BaseMemory).open(path, check=check)


def _reopened(path: str, identity: str) -> JoinedBase:
    """The base of a pickle.

    Raises:
        FileFormatError: another one has come to its place.
    """
    base = JoinedBase.open(path)
    if base.identity != identity:
        raise FileFormatError(f"{path}: expected the base {identity}, got {base.identity}")
    return base
