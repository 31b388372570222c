"""Rows of equal size in an `.npy` file: written piece by piece, and mapped read-only."""

import ctypes
import hashlib
import math
import mmap
import os
import tokenize
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from index.errors import FileFormatError

_PAGE = mmap.PAGESIZE
_FORMAT: Any = np.lib.format
# What the parser of the header of an .npy file, which is Python, raises for damaged bytes.
_DAMAGE = (
    *(ValueError, SyntaxError, TypeError, LookupError, AttributeError, EOFError, OverflowError),
    *(tokenize.TokenError, RecursionError, MemoryError, UserWarning),
)


class RowsWritten(NamedTuple):
    """What a header says of a file of rows."""

    dtype: str  # of numpy, as "<f4"
    shape: tuple[int, ...]
    size: int  # bytes of the file
    sha256: str  # of the rows, without the header of the file


class RowWriter:
    """Writes rows to a new `.npy` file; how many, it need not know before.

    Args:
        path: does not exist yet.
        width: numbers in a row; 0 for a file of single numbers.
        dtype: of the numbers.
    """

    def __init__(self, path: Path, width: int, dtype: np.dtype | type | str) -> None:
        self._dtype, self._width, self._rows = np.dtype(dtype), width, 0
        self._sum = hashlib.sha256()
        self._file = path.open("xb")
        self._write_header()
        self._begin = self._file.tell()

    def __enter__(self) -> "RowWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    @property
    def _shape(self) -> tuple[int, ...]:
        return (self._rows, self._width) if self._width else (self._rows,)

    def _write_header(self) -> None:
        # NumPy leaves room for more digits of the first size, so its length stays the same.
        descr = _FORMAT.dtype_to_descr(self._dtype)
        entries = {"descr": descr, "fortran_order": False, "shape": self._shape}
        _FORMAT.write_array_header_1_0(self._file, entries)

    def write(self, rows: np.ndarray) -> None:
        """Appends rows [m, width], or numbers [m]."""
        rows = np.ascontiguousarray(rows, self._dtype)
        data = rows.reshape(-1).view(np.uint8).data
        self._sum.update(data)
        self._file.write(data)
        self._rows += len(rows)

    def finish(self) -> RowsWritten:
        """Completes the file and has it on disk."""
        size = self._file.tell()
        self._file.seek(0)
        self._write_header()
        assert self._file.tell() == self._begin, "the header of an .npy file has changed its length"
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return RowsWritten(self._dtype.str, self._shape, size, self._sum.hexdigest())


def file_sum(path: Path) -> str:
    """SHA-256 of all of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def written_file(path: Path) -> RowsWritten:
    """What a header says of a file that another library wrote; it is on disk then."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        size = os.fstat(file.fileno()).st_size
    return RowsWritten("", (), size, file_sum(path))


def write_array(path: Path, array: np.ndarray) -> RowsWritten:
    """Writes an array of any shape to a new `.npy` file, and has it on disk."""
    array = np.ascontiguousarray(array)
    with path.open("xb") as file:
        descr = _FORMAT.dtype_to_descr(array.dtype)
        entries = {"descr": descr, "fortran_order": False, "shape": array.shape}
        _FORMAT.write_array_header_1_0(file, entries)
        data = array.reshape(-1).view(np.uint8).data
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    return RowsWritten(array.dtype.str, array.shape, size, hashlib.sha256(data).hexdigest())


class MappedRows:
    """Rows of a file, mapped read-only; what is read of it is read from the disk when needed.

    The file may be replaced or unlinked meanwhile, but must not be written to in place.

    Args:
        path: of the file.
        written: what the header of the base says of it.

    Attributes:
        path, written: as given.
        rows: the numbers, [n, width] or [n]. Writing to it would end the process.

    Raises:
        FileFormatError: the file has another size or shape.
        OSError: it is not there, or cannot be read.
    """

    def __init__(self, path: Path, written: RowsWritten) -> None:
        self.path, self.written = path, written
        with path.open("rb") as file:
            found = os.fstat(file.fileno()).st_size
            if found != written.size:
                raise FileFormatError(f"{path}: expected {written.size} bytes, got {found}")
            try:
                version = _FORMAT.read_magic(file)
                shape, fortran, dtype = _FORMAT.read_array_header_1_0(file)
            except _DAMAGE as error:
                what = (str(error).splitlines() or [type(error).__name__])[0]
                raise FileFormatError(f"{path}: expected an .npy file, got {what}") from error
            said = version, shape, fortran, dtype.str
            wanted = (1, 0), written.shape, False, written.dtype
            self._begin = file.tell()
            fits = self._begin + math.prod(shape) * dtype.itemsize == found
            if said != wanted or not fits:
                what = f"{written.dtype} {[*written.shape]}"
                raise FileFormatError(f"{path}: expected {what}, got {dtype.str} {[*shape]}")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        array = np.frombuffer(self._map, dtype, offset=self._begin).reshape(shape)
        with warnings.catch_warnings():  # that it must not be written to is known
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            self.rows = torch.from_numpy(array)
        self._row_bytes = dtype.itemsize * math.prod(shape[1:])
        self._asked = np.zeros(-(-found // _PAGE), np.bool_)  # pages that the system was told of
        self._asked_count = 0
        self._most_asked = max(1, _physical_memory() // _PAGE // 2)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, places: Tensor, kept: torch.dtype | None = None) -> Tensor:
        """A copy of the rows at int64 places [m], of a dtype of the same size, [m, width].

        Pages not yet asked for are announced to the system all at once, so that a cold disk is
        read in parallel.
        """
        self.will_need(places)
        rows = self.rows if kept is None or kept == self.rows.dtype else self.rows.view(kept)
        if rows.dim() == 1:
            return rows.index_select(0, places)
        return functional.embedding(places, rows)

    def piece(self, start: int, count: int) -> Tensor:
        """Rows from `start` on, a view; those after them are announced."""
        end = min(start + 2 * count, len(self))
        self.will_need_runs(torch.tensor([start]), torch.tensor([end - start]))
        return self.rows.narrow(0, start, count)

    def will_need(self, places: Tensor) -> None:
        """Tells the system which pages are read next; nothing for those that it was told of."""
        if not places.numel():
            return
        starts = places.numpy() * self._row_bytes + self._begin
        pages = starts // _PAGE
        last = (starts + self._row_bytes - 1) // _PAGE
        if self._row_bytes > _PAGE:
            pages = np.concatenate([np.arange(a, b + 1) for a, b in zip(pages, last, strict=True)])
            last = pages
        self._ask_for(np.concatenate((pages, last)))

    def will_need_runs(self, starts: Tensor, counts: Tensor) -> None:
        """`will_need` of runs of rows: int64 [m] of where each starts, and how long it is."""
        low = (starts.numpy() * self._row_bytes + self._begin) // _PAGE
        high = -(-((starts + counts).numpy() * self._row_bytes + self._begin) // _PAGE)
        each = high - low
        within = np.arange(each.sum()) - np.repeat(each.cumsum() - each, each)
        self._ask_for(np.repeat(low, each) + within)

    def layout(self) -> tuple[int, int, int, np.ndarray]:
        """Bytes of a row, where the first begins, bytes of a page, and which pages were asked for.

        For loops that look themselves whether `will_need_runs` has anything to do.
        """
        return self._row_bytes, self._begin, _PAGE, self._asked

    @property
    def all_asked(self) -> bool:
        """Whether the system was told of all pages, so that there is nothing to announce."""
        return self._asked_count >= len(self._asked)

    def _ask_for(self, pages: np.ndarray) -> None:
        """Announces those of some pages that were not asked for."""
        new = pages[~self._asked[pages]]
        if new.size:
            self._announce(np.unique(new))
            # However many they are: loops look whether all are asked for, and would ask for ever.
            self._asked[pages] = True

    def _announce(self, pages: np.ndarray) -> None:
        """Asks for pages in ascending order, run by run."""
        if hasattr(self._map, "madvise") and hasattr(mmap, "MADV_WILLNEED"):
            begins = np.flatnonzero(np.diff(pages, prepend=-2) != 1)
            ends = np.append(begins[1:], len(pages))
            for first, count in zip(pages[begins].tolist(), (ends - begins).tolist(), strict=True):
                self._map.madvise(mmap.MADV_WILLNEED, first * _PAGE, count * _PAGE)
        self._asked_count += len(pages)
        if self._asked_count > self._most_asked:  # the system may have dropped the first ones
            self._asked[:] = False
            self._asked_count = len(pages)
        self._asked[pages] = True

    @property
    def nbytes(self) -> int:
        """Bytes of the file."""
        return len(self._map)

    @property
    def resident(self) -> int:
        """Bytes of the file that lie in memory now, whoever brought them there."""
        return resident_bytes(self._map)

    def check(self) -> None:
        """Reads all rows and compares their checksum.

        Raises:
            FileFormatError: it is another.
        """
        total = hashlib.sha256()
        with memoryview(self._map) as view:
            step = 2**24
            for start in range(self._begin, len(view), step):
                total.update(view[start : start + step])
        if total.hexdigest() != self.written.sha256:
            raise FileFormatError(f"{self.path}: expected its own checksum, got another")


def resident_bytes(mapped: mmap.mmap) -> int:
    """Bytes of a mapped file that lie in memory now; 0 where the system does not tell."""
    look = getattr(ctypes.CDLL(None), "mincore", None)
    if look is None:
        return 0
    size = len(mapped)
    seen = np.zeros(-(-size // _PAGE), np.uint8)
    address = np.frombuffer(mapped, np.uint8).ctypes.data
    done = look(ctypes.c_void_p(address), ctypes.c_size_t(size), ctypes.c_void_p(seen.ctypes.data))
    return min(size, int((seen & 1).sum()) * _PAGE) if done == 0 else 0


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 2**33
