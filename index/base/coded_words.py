"""Codes of the words of a base, list by list: most words are told from the best by them alone.

Under the cosine a base with lists has int8 codes of its unit words beside the words, sixteen words
together as `index.list_copies` has them. A search reads these, in integers, and of the words only
those that may be among the best; see `index.kernels.base_codes`.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from index.base.coded import CodedVectors
from index.base.header import Header
from index.base.row_file import MappedRows, RowsWritten, RowWriter
from index.errors import FileFormatError
from index.list_copies import BLOCK
from index.metric import Metric, unit

CODES, SCALES = "codes.npy", "code_scales.npy"


class CodeWriter:
    """Writes the codes of words that come in the order of their rows.

    Args:
        folder: of the base.
        metric: codes are written for the cosine only: under others words have no common length, so
            that bounds would be loose.
        word_size: W.
    """

    def __init__(self, folder: Path, metric: Metric, word_size: int) -> None:
        self._codes, self._scales = None, None
        if metric == "cosine":
            self._codes = RowWriter(folder / CODES, _row_bytes(word_size), np.int8)
            self._scales = RowWriter(folder / SCALES, 0, np.float32)

    def __enter__(self) -> "CodeWriter":
        return self

    def __exit__(self, *error: object) -> None:
        for writer in (self._codes, self._scales):
            if writer is not None:
                writer.__exit__()

    def write(self, words: Tensor) -> None:
        """Appends codes of float32 words [m, W]; m is a multiple of 16, or they are the last."""
        if self._codes is not None and self._scales is not None:
            codes, scales = CodedVectors(unit(words, torch.zeros(()))).arrays()
            self._codes.write(codes.reshape(len(codes), -1))
            self._scales.write(scales)

    def finish(self) -> dict[str, RowsWritten]:
        """Completes the files and has them on disk."""
        if self._codes is None or self._scales is None:
            return {}
        return {CODES: self._codes.finish(), SCALES: self._scales.finish()}


class CodedWords:
    """The mapped codes of a base.

    Args:
        codes: int8 [blocks, 32 ceil(W / 2)].
        scales: float32 [16 blocks].
    """

    def __init__(self, codes: MappedRows, scales: MappedRows) -> None:
        self._codes, self._scales = codes, scales
        blocks = codes.rows.view(len(codes), -1, BLOCK, 2)
        self.arrays = blocks.numpy(), scales.rows.numpy()
        self.read = [(codes, BLOCK), (scales, 1)]  # with how many words are in a row

    @classmethod
    def of(cls, folder: Path, header: Header, files: dict[str, MappedRows]) -> "CodedWords | None":
        """Those of a base; None for one without, as older ones are.

        Raises:
            FileFormatError: there is one file of them, or they are of other words.
        """
        given = [files[name] for name in (CODES, SCALES) if name in files]
        if not given:
            return None
        blocks = -(-header.num_words // BLOCK)
        wanted = [("|i1", (blocks, _row_bytes(header.word_size))), ("<f4", (BLOCK * blocks,))]
        got = [(file.written.dtype, file.written.shape) for file in given]
        if got != wanted:
            raise FileFormatError(
                f"{folder}: expected {CODES} and {SCALES} of {header.num_words} words of "
                f"{header.word_size} numbers, got {got}"
            )
        return cls(*given)

    def will_need_runs(self, starts: Tensor, ends: Tensor) -> None:
        """Has the system read the codes of words from some rows up to others, int64 [m]."""
        first = starts // BLOCK
        self._codes.will_need_runs(first, (ends + BLOCK - 1) // BLOCK - first)
        self._scales.will_need_runs(starts, ends - starts)

    @property
    def files(self) -> dict[str, MappedRows]:
        """The mapped files."""
        return {CODES: self._codes, SCALES: self._scales}


def code_bytes(word_size: int) -> int:
    """Bytes of the codes of a word."""
    return _row_bytes(word_size) // BLOCK + 4


def _row_bytes(word_size: int) -> int:
    return 2 * BLOCK * ((word_size + 1) // 2)
