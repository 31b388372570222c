"""What memories wrote over a base: few slots and words, to be kept, shipped, applied, dropped."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from index.errors import FileFormatError, ShapeError
from index.tensor_files import read_parts, write_parts

_KIND = "base diff"


class BaseDiff:
    """Words of B memories over a base of n words, in place of its words or beside them.

    A slot below n is one of the base that a memory has overwritten; slots n, n + 1, ... are its
    own. Nothing else is in it: the base is not changed by a diff, and dropping the diff undoes it.

    Args:
        slots: int64 [B, M], each at most once a row; -1 for none.
        words: what they hold, [B, M, W].
        num_base: n.

    Raises:
        ShapeError: shapes or dtypes are not as said.
    """

    def __init__(self, slots: Tensor, words: Tensor, num_base: int) -> None:
        fits = slots.dim() == 2 and words.dim() == 3 and words.shape[:2] == slots.shape
        if not fits or slots.dtype != torch.int64 or not words.is_floating_point():
            raise ShapeError(
                "slots, words: expected int64 [B, M] and floats [B, M, W], got "
                f"{slots.dtype} {[*slots.shape]} and {words.dtype} {[*words.shape]}"
            )
        ordered = slots.sort(1).values
        again = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
        if bool(again.any()) or (slots.numel() and int(slots.min()) < -1):
            raise ShapeError("slots: expected each at least -1, and at most once a row")
        self.slots, self.words, self.num_base = slots, words, num_base

    @property
    def batch_size(self) -> int:
        return len(self.slots)

    @property
    def word_size(self) -> int:
        return self.words.shape[2]

    @property
    def nbytes(self) -> int:
        return self.slots.nbytes + self.words.nbytes

    def __len__(self) -> int:
        """Words written, of all memories."""
        return int((self.slots >= 0).sum())

    def __repr__(self) -> str:
        rows, own = self.batch_size, int((self.slots >= self.num_base).sum())
        over = len(self) - own
        return (
            f"BaseDiff({over:,} words of a base of {self.num_base:,} and {own:,} more, of "
            f"{self.word_size} numbers, in {rows} rows)"
        )

    def rows(self, picked: Any) -> "BaseDiff":
        """The diff of some memories, integers [n]."""
        where = torch.as_tensor(picked, device=self.slots.device).reshape(-1)
        try:
            return BaseDiff(self.slots[where], self.words[where], self.num_base)
        except IndexError as error:
            raise ShapeError(f"rows: expected some of {self.batch_size}, got {picked}") from error

    def to(self, device: torch.device | str) -> "BaseDiff":
        return BaseDiff(self.slots.to(device), self.words.to(device), self.num_base)

    def save(self, path: str | Path) -> None:
        """Writes a file for `load`; whole or not at all.

        Raises:
            BackendMissingError: safetensors is not installed.
            OSError: the file cannot be written.
        """
        parts = {"slots": self.slots, "words": self.words, "num_base": self.num_base}
        write_parts(path, _KIND, parts)

    @classmethod
    def load(cls, path: str | Path) -> "BaseDiff":
        """Reads a file of `save`, which may come from a stranger.

        Raises:
            FileFormatError: it is damaged, or of something else.
            BackendMissingError: safetensors is not installed.
            OSError: there is no such file, or it cannot be read.
        """
        given = read_parts(path, _KIND)
        num_base = given.number("num_base", 1, 2**62)
        slots = given.integers("slots", (None, None), -1, 2**62)
        found = given.peek("words")
        dtype = torch.float32 if found is None or not found.is_floating_point() else found.dtype
        words = given.finite("words", (*slots.shape, None), dtype)
        given.finish()
        try:
            return cls(slots, words, num_base)
        except ShapeError as error:
            raise FileFormatError(f"{path}: {error}") from error
