"""The words of a base by slot, as they are kept in its file."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.base.row_file import MappedRows
from index.compiled import is_compiled
from index.errors import FileFormatError, NonFiniteError
from index.storage import Storage, StorageName, as_array, storage_of

# How numbers are written, and what torch knows them as; numpy has no bfloat16, so its bits are.
_ON_DISK = {"float32": "<f4", "float16": "<f2", "bfloat16": "<u2", "int8": "|i1"}
_KEPT = {
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
_PIECE_BYTES = 2 * 2**20  # of decoded words at a time: what a cache holds


class Encoder:
    """Words as rows of a file: float32, float16, bfloat16, or int8 with a scale for each word.

    A row of int8 is a word divided by its scale, then the scale as 4 bytes of a float32; see
    `index.storage.ByteStorage`.

    Args:
        dtype: one of those names.
        word_size: W.

    Attributes:
        width: numbers in a row.
        disk: how numpy writes them.
    """

    def __init__(self, dtype: StorageName, word_size: int) -> None:
        self._name, self._storage = dtype, storage_of(dtype, torch.float32, word_size)
        self.width, self.disk = self._storage.width, np.dtype(_ON_DISK[dtype])

    @property
    def row_bytes(self) -> int:
        """Bytes of a row."""
        return self.width * self.disk.itemsize

    def rows(self, words: Tensor, first: int = 0) -> np.ndarray:
        """Rows of words, float32 [m, W], of which the first is word `first` of all.

        Raises:
            NonFiniteError: a number is too large to be kept; names the row.
        """
        if self._storage.kept.is_floating_point:
            most = torch.finfo(self._storage.kept).max
            if words.abs().max() > most:
                row, column = (words.abs() > most).nonzero()[0].tolist()
                raise NonFiniteError(
                    f"words: expected numbers of at most {most:g} to be kept as {self._name}, got "
                    f"{words[row, column].item():g} in row {first + row}, column {column}"
                )
        return self._storage.encode(words).contiguous().view(torch.uint8).numpy().view(self.disk)


class BaseWords:
    """Words mapped from the file of a base.

    Args:
        rows: what is kept of them.
        dtype: how.
        word_size: W.
        row_of: the row of each slot, where rows are not in the order of slots.
        slot_of: the slot of each row, likewise.
    """

    def __init__(
        self,
        rows: MappedRows,
        dtype: StorageName,
        word_size: int,
        row_of: MappedRows | None = None,
        slot_of: MappedRows | None = None,
    ) -> None:
        self.file, self.word_size = rows, word_size
        self.kept, self._count = rows.rows.view(_KEPT[dtype]), rows.rows.shape[0]
        self._dtype: StorageName = dtype
        self._row_of, self._slot_of = row_of, slot_of
        self._storages: dict[torch.dtype, Storage] = {}
        self._for_loops: Any = None

    def __len__(self) -> int:
        return self._count

    def storage(self, dtype: torch.dtype) -> Storage:
        """What decodes rows to words of a dtype, float32 or float64."""
        if dtype not in self._storages:
            self._storages[dtype] = storage_of(self._dtype, dtype, self.word_size)
        return self._storages[dtype]

    def at(self, slots: Tensor, dtype: torch.dtype) -> Tensor:
        """A copy of the words at int64 slots [m], [m, W]."""
        return self.at_rows(self.rows_of(slots), dtype)

    def at_rows(self, rows: Tensor, dtype: torch.dtype) -> Tensor:
        """A copy of the words in rows [m] of the file, [m, W]."""
        return self.storage(dtype).decode(self.file.gather(rows, self.kept.dtype))

    def put(self, slots: Tensor, into: Tensor, at: Tensor) -> bool:
        """Copies words at int64 slots [m] to rows of a table [R, W], in compiled form.

        Returns:
            False where that cannot be used, as when the system has yet to be asked for a page: some
            rows may have been written then.
        """
        fits = (
            into.dtype is torch.float32 and into.is_contiguous() and into.shape[1] == self.word_size
        )
        if not fits or not is_compiled(None, into.device, into.dtype):
            return False
        from index.kernels.base_lists import put_words

        given = slots.contiguous().numpy(), *self.for_loops()
        return put_words(*given, at.contiguous().numpy(), into.detach().numpy())

    def for_loops(self) -> tuple[Any, Any, Any]:
        """`KeptWords`, the layout of their file, and the row of each slot with that of its file."""
        from index.kernels.kept_words import KeptWords

        if self._for_loops is None:
            rows = self._row_of
            pages = None if rows is None else (rows.rows.numpy(), rows.layout())
            self._for_loops = KeptWords.of(as_array(self.kept)), self.file.layout(), pages
        return self._for_loops

    @property
    def orders(self) -> tuple[MappedRows, MappedRows]:
        """The slot of each row and the row of each slot, of words not in the order of slots."""
        assert self._slot_of is not None and self._row_of is not None
        return self._slot_of, self._row_of

    def rows_of(self, slots: Tensor) -> Tensor:
        """The rows of int64 slots [m]."""
        return slots if self._row_of is None else self._looked_up(self._row_of, slots)

    def slots_of(self, rows: Tensor) -> Tensor:
        """The slots of int64 rows of any shape; -1 stays."""
        if self._slot_of is None:
            return rows
        if rows.dim() == 2 and is_compiled(None, rows.device, torch.float32):
            from index.kernels.base_lists import put_slots

            slots, file = torch.empty_like(rows), self._slot_of
            if put_slots(rows.numpy(), file.rows.numpy(), len(self), *file.layout(), slots.numpy()):
                return slots
        found = self._looked_up(self._slot_of, rows.clamp_min(0).flatten()).view(rows.shape)
        return torch.where(rows < 0, rows, found)

    def _looked_up(self, file: MappedRows, at: Tensor) -> Tensor:
        """Numbers of a file that are below n, which nobody has looked at before."""
        found = file.gather(at).long()
        if found.numel():
            low, high = (int(bound) for bound in found.aminmax())
            if low < 0 or high >= len(self):
                wrong = low if low < 0 else high
                raise FileFormatError(
                    f"{file.path}: expected numbers in 0 .. {len(self) - 1}, got {wrong}"
                )
        return found

    def pieces(self, dtype: torch.dtype, whole: int = 1) -> Iterator[tuple[int, Tensor]]:
        """All words from the first row to the last, and the row at which each piece starts.

        Args:
            dtype: of the words.
            whole: all pieces but the last have a multiple of so many words.
        """
        step = max(1, _PIECE_BYTES // (self.word_size * dtype.itemsize * whole)) * whole
        decode = self.storage(dtype).decode
        for start in range(0, len(self), step):
            count = min(step, len(self) - start)
            self.file.piece(start, count)
            yield start, decode(self.kept.narrow(0, start, count))

    @property
    def files(self) -> dict[str, Any]:
        """The mapped files."""
        given = {"words": self.file, "row_of": self._row_of, "slot_of": self._slot_of}
        return {name: file for name, file in given.items() if file is not None}
