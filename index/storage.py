"""How an index keeps its words: as they are computed with, or rounded to fewer bits.

What is kept of a word is one row of numbers. It is encoded when the word comes and decoded wherever
it is read, so everything in between (growing, moving, copying, files) knows rows only.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from index.checks import assert_later
from index.errors import NonFiniteError

StorageName = Literal["float32", "float16", "bfloat16", "int8"]

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_MOST_INT8 = 127
# Of types that numba does not know, the bits.
_BITS = {torch.float16: (torch.int16, np.int16), torch.bfloat16: (torch.int16, np.uint16)}


class Storage:
    """Words as they come; the base of the forms that round.

    Args:
        dtype: that words are computed with.
        word_size: W.

    Attributes:
        kept: dtype of what is kept.
        width: how many numbers of it a word takes.
        rounds: whether that is anything else than the word.
    """

    rounds = False

    def __init__(self, dtype: torch.dtype, word_size: int) -> None:
        self.dtype, self.word_size = dtype, word_size
        self.kept, self.width = dtype, word_size

    def check(self, words: Tensor) -> None:
        """Raises NonFiniteError where a word cannot be kept."""

    def encode(self, words: Tensor) -> Tensor:
        """What is kept of words [..., W], [..., width]."""
        return words

    def decode(self, kept: Tensor) -> Tensor:
        """The words [..., W] of which this is kept."""
        return kept


class RoundedStorage(Storage):
    """Words as floats of fewer bits."""

    rounds = True

    def __init__(self, name: str, dtype: torch.dtype, word_size: int) -> None:
        super().__init__(dtype, word_size)
        self.name, self.kept = name, _DTYPES[name]

    def check(self, words: Tensor) -> None:
        _check_largest(words, torch.finfo(self.kept).max, self.name)

    def encode(self, words: Tensor) -> Tensor:
        return words.to(self.kept)

    def decode(self, kept: Tensor) -> Tensor:
        return kept.to(self.dtype)


class ByteStorage(Storage):
    """Words as integers in [-127, 127] times a scale, the largest number of the word / 127.

    The scale, a float32, stands in the last 4 bytes of the row.
    """

    rounds = True

    def __init__(self, dtype: torch.dtype, word_size: int) -> None:
        super().__init__(dtype, word_size)
        self.kept, self.width = torch.int8, word_size + 4

    def check(self, words: Tensor) -> None:
        if self.dtype != torch.float32:
            _check_largest(words, torch.finfo(torch.float32).max, "int8")

    def encode(self, words: Tensor) -> Tensor:
        # A scale that is no normal number could not be divided by; such words are mostly zeros.
        tiny = torch.finfo(torch.float32).tiny
        scales = words.abs().amax(-1, keepdim=True).float().div_(_MOST_INT8).clamp_(min=tiny)
        codes = (words / scales).round_().clamp_(-_MOST_INT8, _MOST_INT8).to(torch.int8)
        return torch.cat((codes, scales.view(torch.int8)), -1)

    def decode(self, kept: Tensor) -> Tensor:
        words = kept[..., : self.word_size].to(self.dtype)
        return words.mul_(self.scales(kept))

    def scales(self, kept: Tensor) -> Tensor:
        """The scales [..., 1] in rows."""
        four = kept[..., self.word_size :].clone(memory_format=torch.contiguous_format)
        return four.view(torch.float32)  # which has to begin at a multiple of 4 bytes


def storage_of(name: StorageName | None, dtype: torch.dtype, word_size: int) -> Storage:
    """The storage of a name; None keeps words as they come.

    Args:
        name: as `IndexConfig.storage`.
        dtype: of the index, float32 or float64.
        word_size: W.
    """
    if name == "int8":
        return ByteStorage(dtype, word_size)
    if name is None or _DTYPES[name] == dtype:
        return Storage(dtype, word_size)
    return RoundedStorage(name, dtype, word_size)


def as_array(kept: Tensor) -> np.ndarray:
    """What is kept as an array for compiled loops, which shares its memory.

    Of float16 it has the bits as int16, of bfloat16 as uint16.
    """
    if kept.dtype not in _BITS:
        return kept.numpy()
    bits, shown = _BITS[kept.dtype]
    return kept.view(bits).numpy().view(shown)


def _check_largest(words: Tensor, most: float, name: str) -> None:
    large = words.abs() > most
    if words.device.type != "cpu":
        assert_later(~large.any(), f"words: expected numbers of at most {most:g} for {name}")
    elif bool(large.any()):
        where = large.nonzero()[0].tolist()
        other = "bfloat16 or float32" if name == "float16" else "another storage"
        raise NonFiniteError(
            f"words: expected numbers of at most {most:g} to be kept as {name}, got "
            f"{words[tuple(where)].item():g} at {where}; take storage {other}"
        )
