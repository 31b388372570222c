"""How a base is written: words first, then the index, then the header; all of it or nothing."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from index.base.folder import atomic_folder, check_space
from index.base.header import NAME, Header
from index.base.opened import WORDS
from index.base.row_file import RowsWritten, RowWriter
from index.base.source import Source, Words
from index.base.words import Encoder
from index.config import IndexConfig
from index.errors import unknown_name
from index.metric import Metric
from index.storage import StorageName

KINDS = ("exact",)


@dataclass(frozen=True, kw_only=True, slots=True)
class BuildPlan:
    """What kind of a base is written; see `BaseMemory.create`."""

    index: str
    dtype: StorageName
    metric: Metric
    recall: float
    seed: int

    @classmethod
    def checked(
        cls, *, index: str, dtype: Any, metric: Any, recall: float, seed: int
    ) -> "BuildPlan":
        """The plan, or a ValueError for what is not valid."""
        if not isinstance(index, str) or index.partition(":")[0] not in KINDS:
            raise unknown_name("index", index, KINDS)
        if dtype not in get_args(StorageName):
            known = ", ".join(get_args(StorageName))
            raise ValueError(f"dtype: expected one of {known}, got {dtype!r}")
        IndexConfig(metric=metric, recall=recall, seed=seed)  # raises its errors
        return cls(index=index, dtype=dtype, metric=metric, recall=recall, seed=seed)

    def row_bytes(self, word_size: int) -> int:
        """Bytes that a word takes while the base is written, at most."""
        return Encoder(self.dtype, word_size).row_bytes


def build_base(
    path: Path, words: Words, plan: BuildPlan, progress: Callable[[str, int, int | None], None]
) -> None:
    """Writes a base; see `BaseMemory.create`."""
    source = Source(words)
    _check_place(path)
    if source.count is not None and source.word_size is not None:
        check_space(path.absolute().parent, source.count * plan.row_bytes(source.word_size))
    with atomic_folder(path) as folder:
        files = {WORDS: _write_words(folder, source, plan, progress)}
        count, word_size = files[WORDS].shape[0], source.word_size or 0
        Header(
            identity=secrets.token_hex(16),
            num_words=count,
            word_size=word_size,
            dtype=plan.dtype,
            metric=plan.metric,
            index=plan.index,
            files=files,
        ).write(folder)


def _check_place(path: Path) -> None:
    """Raises OSError where a base may not be put."""
    if path.is_dir() and ((path / NAME).is_file() or not any(path.iterdir())):
        return
    if path.exists() or path.is_symlink():
        raise FileExistsError(
            17, "expected a new folder or that of a base, got something else", str(path)
        )


def _write_words(
    folder: Path,
    source: Source,
    plan: BuildPlan,
    progress: Callable[[str, int, int | None], None],
) -> RowsWritten:
    writer, done = None, 0
    pieces = source.pieces()
    try:
        for piece in pieces:
            encoder = Encoder(plan.dtype, piece.shape[1])
            if writer is None:
                writer = RowWriter(folder / WORDS, encoder.width, encoder.disk)
            if source.count is None:
                check_space(folder, len(piece) * plan.row_bytes(piece.shape[1]))
            writer.write(encoder.rows(piece, done))
            done += len(piece)
            progress("words", done, source.count)
        assert writer is not None, "a source without words raises"
        return writer.finish()
    finally:
        if writer is not None:
            writer.__exit__()
