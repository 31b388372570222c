"""The files of a base, mapped, and what is made of them."""

from pathlib import Path
from typing import NamedTuple

from index.base.faiss_tables import NAME as FAISS
from index.base.faiss_tables import FaissTables
from index.base.header import Header
from index.base.list_tables import HASHES, ListTables
from index.base.row_file import MappedRows, RowsWritten, file_sum
from index.base.tables import NoTables, Tables
from index.base.words import BaseWords, Encoder
from index.errors import FileFormatError

WORDS, ROW_OF, SLOT_OF = "words.npy", "row_of.npy", "slot_of.npy"


class Opened(NamedTuple):
    """What is made of the files of a base."""

    words: BaseWords
    tables: Tables

    @property
    def _mapped(self) -> list[MappedRows]:
        return [*self.words.files.values(), *self.tables.files.values()]

    @property
    def resident(self) -> int:
        """Bytes in memory."""
        return sum(file.resident for file in self._mapped) + self.tables.nbytes_held


def open_files(folder: Path, header: Header, *, check: bool = False) -> Opened:
    """Maps the files of a base.

    Args:
        folder: of the base.
        header: of it.
        check: compare the checksums of all files, before anything is made of them.

    Raises:
        FileFormatError: a file is missing, of another size, or of another kind than it should be.
        OSError: one cannot be read.
    """
    files = {}
    for name, written in header.files.items():
        path = folder / name
        if not path.is_file():
            raise FileFormatError(f"{path}: expected a file of a base, got nothing")
        if name.endswith(".npy"):
            files[name] = MappedRows(path, written)
        elif path.stat().st_size != written.size:
            got = path.stat().st_size
            raise FileFormatError(f"{path}: expected {written.size} bytes, got {got}")
        if check:
            _check(path, files.get(name), written)
    words = _words(folder, header, files)
    return Opened(words, _tables(folder, header, files))


def _check(path: Path, mapped: MappedRows | None, written: RowsWritten) -> None:
    """Raises FileFormatError unless a file has the checksum that it should have."""
    if mapped is not None:
        mapped.check()
    elif file_sum(path) != written.sha256:
        raise FileFormatError(f"{path}: expected its own checksum, got another")


def _words(folder: Path, header: Header, files: dict[str, MappedRows]) -> BaseWords:
    encoder = Encoder(header.dtype, header.word_size)
    _expect(folder, files, WORDS, encoder.disk.str, (header.num_words, encoder.width))
    maps = [name for name in (ROW_OF, SLOT_OF) if name in files]
    for name in maps:
        _expect(folder, files, name, "<i4", (header.num_words,))
    if len(maps) == 1:
        raise FileFormatError(f"{folder}: expected {ROW_OF} and {SLOT_OF}, got one of them")
    order = files.get(ROW_OF), files.get(SLOT_OF)
    return BaseWords(files[WORDS], header.dtype, header.word_size, *order)


def _tables(folder: Path, header: Header, files: dict[str, MappedRows]) -> Tables:
    if header.index == "exact":
        return NoTables()
    if header.index in HASHES:
        return ListTables(folder, header, files)
    if header.index.partition(":")[0] == "faiss" and FAISS in header.files:
        return FaissTables(folder, header)
    raise FileFormatError(f"{folder}: expected a known index, got {header.index!r}")


def _expect(
    folder: Path, files: dict[str, MappedRows], name: str, dtype: str, shape: tuple[int, ...]
) -> None:
    """Raises FileFormatError unless a file has this dtype and shape."""
    if name not in files:
        raise FileFormatError(f"{folder / name}: expected a file of a base, got nothing")
    rows = files[name].written
    if (rows.dtype, rows.shape) != (dtype, shape):
        raise FileFormatError(
            f"{folder / name}: expected {dtype} {[*shape]}, got {rows.dtype} {[*rows.shape]}"
        )
