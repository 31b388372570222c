"""A base cut into shards, or cut anew: streamed, and put in its place when it is whole."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.base.build import BuildPlan, build_base, check_place
from index.base.folder import atomic_folder, check_space
from index.base.list_tables import HASHES
from index.base.manifest import Manifest, Shard, read_manifest
from index.base.memory import BaseMemory
from index.base.words import Encoder
from index.checks import check_at_least
from index.errors import ShapeError

_PIECE_BYTES = 8 * 2**20  # of words as float32 held at a time

Progress = Callable[[str, int, int | None], None]


def reshard(
    path: str | Path,
    n_shards: int,
    *,
    to: str | Path | None = None,
    progress: Progress | None = None,
) -> Path:
    """Cuts the words of a base, in one piece or in shards, into shards of equal size.

    Slot numbers, the words as they are kept, the kind of the index and the identity of the base
    stay, so that states go on over any cut; the index of each shard is made anew. One shard is a
    base in one piece, as `BaseMemory` opens it, more are for a `ShardedBase` of as many processes.

    Args:
        path: folder of the base.
        n_shards: at least 1, at most as many as there are words.
        to: another folder for the result; in the place of the old one unless told.
        progress: as that of `BaseMemory.create`, with the number of the shard in the name of the
            phase.

    Returns:
        The folder of the result. A kill at any moment leaves what was there, or all shards.

    Raises:
        FileNotFoundError, FileFormatError: there is no base at `path`, or a damaged one.
        ShapeError: more shards than words.
        OSError: there is no space on the disk, looked at before; or something else is at `to`.

    Cost: reads and writes each word once, or twice with lists, and makes the indexes. On the disk
    source, result, and with lists one more shard while it is sorted. In memory pieces of words, and
    what the index of a shard takes to be made.
    """
    n_shards, source = check_at_least("n_shards", n_shards), Path(path).resolve()
    target = source if to is None else Path(to).resolve()
    manifest, parts = shards_of(source)
    count = manifest.num_words
    if n_shards > count:
        raise ShapeError(f"n_shards: expected at most one a word, {count}, got {n_shards}")
    check_place(target)
    pieces, plan = partial(_pieces, parts, manifest.starts), _plan(parts[0])
    bounds = [count * number // n_shards for number in range(n_shards + 1)]
    check_space(target.parent, _needed(plan, manifest.word_size, count, -(-count // n_shards)))
    if n_shards == 1:
        told, identity = _told(progress, "", count), manifest.identity
        build_base(target, pieces(0, count), plan, told, identity=identity)
        return target
    with atomic_folder(target) as folder:
        shards = []
        for number in range(n_shards):
            name, (first, last) = f"shard_{number}", bounds[number : number + 2]
            told = _told(progress, f"shard {number + 1} of {n_shards}: ", last - first)
            build_base(folder / name, pieces(first, last), plan, told)
            shards.append(Shard(name, last - first, BaseMemory.open(folder / name).identity))
        Manifest(
            identity=manifest.identity,
            word_size=manifest.word_size,
            dtype=manifest.dtype,
            metric=manifest.metric,
            index=manifest.index,
            shards=tuple(shards),
        ).write(folder)
    return target


def shards_of(path: str | Path, *, check: bool = False) -> tuple[Manifest, list[BaseMemory]]:
    """The manifest of a folder, and all shards, opened; a base in one piece is one.

    Args:
        path: the folder.
        check: as `BaseMemory.open`.

    Raises:
        FileNotFoundError, FileFormatError: as `BaseMemory.open`.
    """
    folder = Path(path).resolve()
    manifest = read_manifest(folder)
    every = range(len(manifest.shards))
    return manifest, [manifest.opened(folder, number, check=check) for number in every]


def _plan(base: BaseMemory) -> BuildPlan:
    """How the base was made."""
    recall = float(base.tables.get("recall", 0.9))
    kind: Any = {"index": base.index, "dtype": base.dtype, "metric": base.metric}
    return BuildPlan.checked(**kind, recall=recall, seed=0)


def _needed(plan: BuildPlan, word_size: int, count: int, largest: int) -> int:
    """Bytes of the result, and of the words of a shard while they are sorted."""
    sorting = Encoder(plan.dtype, word_size).row_bytes if plan.index in HASHES else 0
    return count * (plan.row_bytes(word_size) - sorting) + largest * sorting


def _pieces(parts: list[BaseMemory], starts: list[int], first: int, last: int) -> Iterator[Tensor]:
    """The words at slots first .. last - 1, [m, W] at a time."""
    step = max(1, _PIECE_BYTES // (4 * parts[0].word_size))
    for part, begin in zip(parts, starts, strict=False):
        low, high = max(first - begin, 0), min(last - begin, len(part))
        for start in range(low, high, step):
            yield part.words_at(torch.arange(start, min(start + step, high)))


def _told(progress: Progress | None, shard: str, count: int) -> Progress:
    """Progress that says which shard a phase is of, and how many words there are to write."""

    def tell(phase: str, done: int, total: int | None) -> None:
        if progress is not None:
            progress(shard + phase, done, count if phase == "words" else total)

    return tell
