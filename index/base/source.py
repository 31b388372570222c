"""The words that a base is made of, a piece at a time: never all of them in memory."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.checks import is_finite
from index.errors import NonFiniteError, ShapeError
from index.given import vectors_of

Words = Tensor | np.ndarray | Iterable[Tensor | np.ndarray]
"""[n, W], of which a `numpy.memmap` is read piece by piece; or pieces [m, W] one after another."""

_PIECE_BYTES = 8 * 2**20  # of words as float32
_EXPECTED = "words: expected a tensor or array [n, W], or an iterator of such pieces"


class Source:
    """Words as finite float32 pieces on the CPU.

    Args:
        words: see `Words`; float or integer, of any layout.

    Attributes:
        count: n, or None where only the end of the iterator tells it.
        word_size: W, or None before the first piece of an iterator.

    Raises:
        TypeError: `words` is nothing of that.
        ShapeError: words that are not [n, W] with at least one word of at least one number, or
            neither floating point nor integers.
    """

    def __init__(self, words: Words) -> None:
        self.count: int | None = None
        self.word_size: int | None = None
        if isinstance(words, Tensor | np.ndarray):
            _check_piece(words, None)
            self.count, self.word_size = words.shape
            step = max(1, _PIECE_BYTES // (4 * words.shape[1]))
            starts = range(0, len(words), step)
            self._given: Iterable[Any] = (words[start : start + step] for start in starts)
        elif isinstance(words, Iterable) and not isinstance(words, str | bytes | dict):
            self._given = words
        else:
            raise TypeError(f"{_EXPECTED}, got {type(words).__name__}")

    def pieces(self) -> Iterator[Tensor]:
        """Pieces [m, W], m >= 1, contiguous float32; once.

        Raises:
            TypeError, ShapeError: a piece is no array, or not [m, W].
            NonFiniteError: a number is NaN, infinite or beyond float32; names the row.
            ShapeError: there was not one word.
        """
        done = 0
        for piece in self._given:
            if not isinstance(piece, Tensor | np.ndarray):
                raise TypeError(f"{_EXPECTED}, got a piece of type {type(piece).__name__}")
            if done == 0 and self.word_size is None:
                _check_piece(piece, None, empty=True)
                self.word_size = piece.shape[1]
            _check_piece(piece, self.word_size, empty=True)
            # Large pieces of an iterator are cut as well.
            step = max(1, _PIECE_BYTES // (4 * piece.shape[1]))
            for start in range(0, len(piece), step):
                part = _as_float32(piece[start : start + step], done)
                done += len(part)
                yield part
        if done == 0:
            raise ShapeError("words: expected at least one word, got none")


def _check_piece(piece: Any, word_size: int | None, *, empty: bool = False) -> None:
    shape = [*piece.shape]
    width = "W" if word_size is None else f"W={word_size}"
    if len(shape) != 2 or shape[1] < 1 or word_size not in (None, shape[1]):
        raise ShapeError(f"words: expected shape [n, {width}], got {shape}")
    if shape[0] == 0 and not empty:
        raise ShapeError("words: expected at least one word, got none")
    if isinstance(piece, Tensor):
        if piece.dtype == torch.bool or piece.is_complex() or piece.device.type == "meta":
            kind = f"{piece.dtype} on {piece.device}"
            raise ShapeError(f"words: expected floating point or integers, got {kind}")
    elif piece.dtype.kind not in "iuf":
        raise ShapeError(f"words: expected floating point or integers, got {piece.dtype}")


def _as_float32(piece: Tensor | np.ndarray, first: int) -> Tensor:
    """Words as contiguous float32 on the CPU; `first` is the number of the first, for errors."""
    if isinstance(piece, np.ndarray):
        with np.errstate(over="ignore"):  # an infinite number is refused below
            piece = np.array(piece, dtype=np.float32, order="C")
    words = vectors_of("words", piece, torch.device("cpu"))
    words = words.detach().to("cpu", torch.float32).contiguous()
    if not is_finite(words):
        row, column = (~words.isfinite()).nonzero()[0].tolist()
        value = words[row, column].item()
        more = "" if math.isnan(value) else " (or beyond float32)"
        raise NonFiniteError(
            f"words: expected finite numbers, got {value}{more} in row {first + row}, "
            f"column {column}"
        )
    return words
