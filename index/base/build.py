"""How a base is written: words first, then the index, then the header; all of it or nothing."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from index.base.build_lists import Progress, build_lists
from index.base.coded_words import code_bytes
from index.base.faiss_tables import NAME as FAISS
from index.base.faiss_tables import build_faiss, bytes_a_word, recipe_of
from index.base.folder import atomic_folder, check_space
from index.base.header import NAME, SHARDS, Header
from index.base.list_tables import HASHES
from index.base.opened import WORDS
from index.base.row_file import MappedRows, RowsWritten, RowWriter, written_file
from index.base.source import Source, Words
from index.base.words import BaseWords, Encoder
from index.config import IndexConfig
from index.errors import unknown_name
from index.faiss_factory import import_faiss
from index.metric import Metric
from index.storage import StorageName

KINDS = ("exact", *HASHES, "faiss")
_UNSORTED = "unsorted.npy"


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
        plain = isinstance(index, str) and index in KINDS
        if not plain and not (isinstance(index, str) and index.startswith("faiss:")):
            raise unknown_name("index", index, KINDS)
        if dtype not in get_args(StorageName):
            known = ", ".join(get_args(StorageName))
            raise ValueError(f"dtype: expected one of {known}, got {dtype!r}")
        IndexConfig(metric=metric, recall=recall, seed=seed)  # raises its errors
        return cls(index=index, dtype=dtype, metric=metric, recall=recall, seed=seed)

    def row_bytes(self, word_size: int) -> int:
        """Bytes that a word takes while the base is written, at most."""
        row = Encoder(self.dtype, word_size).row_bytes
        if self.index in HASHES:
            return 2 * row + 8 + (code_bytes(word_size) if self.metric == "cosine" else 0)
        return row if self.index == "exact" else row + bytes_a_word(recipe_of(self, word_size))


def build_base(
    path: Path, words: Words, plan: BuildPlan, progress: Progress, *, identity: str | None = None
) -> None:
    """Writes a base; see `BaseMemory.create`.

    Args:
        identity: of other files with the same words at the same slots; a new one unless told.
    """
    source, path = Source(words), path.resolve()
    check_place(path)
    if plan.index.startswith("faiss"):
        import_faiss()
    if source.count is not None and source.word_size is not None:
        check_space(path.parent, source.count * plan.row_bytes(source.word_size))
    with atomic_folder(path) as folder:
        name = _UNSORTED if plan.index in HASHES else WORDS
        written = _write_words(folder / name, source, plan, progress)
        word_size = source.word_size or 0
        files, tables = _write_index(folder, name, written, word_size, plan, progress)
        Header(
            identity=identity or secrets.token_hex(16),
            num_words=written.shape[0],
            word_size=word_size,
            dtype=plan.dtype,
            metric=plan.metric,
            index=plan.index,
            tables=tables,
            files=files,
        ).write(folder)


def _write_index(
    folder: Path,
    name: str,
    written: RowsWritten,
    word_size: int,
    plan: BuildPlan,
    progress: Progress,
) -> tuple[dict[str, RowsWritten], dict[str, int | float | str]]:
    """All files of a base whose words are written, and what its header says of the index."""
    if plan.index == "exact":
        return {name: written}, {}
    words = BaseWords(MappedRows(folder / name, written), plan.dtype, word_size)
    if plan.index in HASHES:
        found = build_lists(folder, words, plan, progress)
        (folder / name).unlink()
        return found
    tables = build_faiss(folder, words, plan, recipe_of(plan, word_size), progress)
    return {name: written, FAISS: written_file(folder / FAISS)}, tables


def check_place(path: Path) -> None:
    """Raises OSError where a base may not be put."""
    names = NAME, SHARDS
    if path.is_dir() and (any((path / n).is_file() for n in names) or not any(path.iterdir())):
        return
    if path.exists():
        raise FileExistsError(
            17, "expected a new folder or that of a base, got something else", str(path)
        )


def _write_words(
    path: Path,
    source: Source,
    plan: BuildPlan,
    progress: Progress,
) -> RowsWritten:
    writer, done = None, 0
    pieces = source.pieces()
    try:
        for piece in pieces:
            encoder = Encoder(plan.dtype, piece.shape[1])
            if writer is None:
                writer = RowWriter(path, encoder.width, encoder.disk)
            if source.count is None:
                check_space(path.parent, len(piece) * plan.row_bytes(piece.shape[1]))
            writer.write(encoder.rows(piece, done))
            done += len(piece)
            progress("words", done, source.count)
        assert writer is not None, "a source without words raises"
        return writer.finish()
    finally:
        if writer is not None:
            writer.__exit__()
