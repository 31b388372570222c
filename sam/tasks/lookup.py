"""Lookup: values asked for by noisy keys, in a memory that was full before the episode began."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from index.base import Base, open_base
from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.tasks.drawing import random_bits
from sam.tasks.levels import RangeTask, check_whole
from sam.tasks.task import Batch

# What a value has for a bit of 1, and its negative for 0. A key has length 1: an approximate index
# finds words by their lists, and so what a question does not say must be small beside it.
BIT = 0.15
PIECE = 2**16  # words drawn at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class Lookup(RangeTask):
    """The memory holds n words, each a key and a value; answer the values of some keys, shown with
    noise. The level is n.

    A word is a key, of length 1 in a random direction, and a value of ``bits`` numbers, 0.15 for 1
    and -0.15 for 0. Nothing is written to it by the task: a network has to send each question on as
    a key of its memory, and to give the bits of the word read. So it may be asked about words that
    it never saw, as many as there are.

    In training each batch has n new words, the same for all its sequences. With a ``base`` the
    words are those of a base on disk, for a model over the same one, and all levels are alike.

    Channels: the key, scaled so that its numbers have variance 1 and noise added. T is the number
    of questions; each is answered at its own step.

    Args:
        base: folder of a base of such words, as `pieces` draws them; or none.
        min_words: fewest words drawn in training.
        max_words: most words drawn in training.
        questions: of a sequence.
        key_size: numbers of a key.
        bits: bits of a value.
        noise: standard deviation of what is added to each number of a key.

    Raises:
        ConfigError: a setting is too small, or the range is empty.
        FileNotFoundError, FileFormatError: there is no base in that folder.
    """

    curriculum_start: ClassVar[int] = 16
    level_settings: ClassVar[tuple[str, str]] = "min_words", "max_words"
    slice_name: ClassVar[str] = "words"

    base: str = ""
    min_words: int = 16
    max_words: int = 1024
    questions: int = 8
    key_size: int = 56
    bits: int = 8
    noise: float = 0.3

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        for name in ("questions", "key_size", "bits"):
            check_whole(name, getattr(self, name), 1)
        check_between("noise", self.noise, 0, 1e6)
        if self.base and self._opened().word_size != self.word_size:
            raise ConfigError(
                f"base: expected words of key_size + bits = {self.word_size} numbers, got "
                f"{self._opened().word_size}"
            )

    @property
    def input_size(self) -> int:
        """The numbers of a key."""
        return self.key_size

    @property
    def output_size(self) -> int:
        """One logit per bit."""
        return self.bits

    @property
    def word_size(self) -> int:
        """W, which the memory must have."""
        return self.key_size + self.bits

    @property
    def levels(self) -> tuple[int, int]:
        """The values of two settings; with a base, its words."""
        if self.base:
            count = len(self._opened())
            return count, count
        return self.min_words, self.max_words

    def evaluation(self, batch_size: int, *, levels: tuple[int, ...] = (), **given: Any) -> Any:
        """As any task's; with a base there is one level."""
        return RangeTask.evaluation(self, batch_size, levels=() if self.base else levels, **given)

    def pieces(self, count: int, *, seed: int = 0) -> Iterator[Tensor]:
        """Draws words for a base, [m, W] at a time; see `BaseMemory.create`."""
        generator = torch.Generator().manual_seed(seed)
        for done in range(0, count, PIECE):
            yield self._words(min(PIECE, count - done), generator)

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        words = None if self.base else self._words(level, generator)
        return self._asked(batch_size, words, generator)

    def _asked(self, batch_size: int, words: Tensor | None, generator: torch.Generator) -> Batch:
        """Questions about words, or about those of the base."""
        count = len(self._opened()) if words is None else len(words)
        slots = torch.randint(count, (self.questions, batch_size), generator=generator)
        asked = self._opened().words_at(slots) if words is None else words[slots]
        keys, values = asked.split([self.key_size, self.bits], 2)
        noise = torch.randn(keys.shape, generator=generator)
        return Batch(
            inputs=keys * self.key_size**0.5 + self.noise * noise,
            targets=(values > 0).float(),
            mask=torch.ones(slots.shape, dtype=torch.bool),
            slices=self._slices(batch_size, count),
            words=words,
        )

    def _words(self, count: int, generator: torch.Generator) -> Tensor:
        keys = functional.normalize(torch.randn(count, self.key_size, generator=generator), dim=1)
        bits = random_bits((count, self.bits), generator)
        return torch.cat([keys, BIT * (2 * bits - 1)], 1)

    def _opened(self) -> Base:
        path = Path(self.base)
        # Another base in its place is another folder; what is missing `open_base` says.
        return _opened(str(path.absolute()), path.stat().st_ino if path.exists() else 0)


@functools.lru_cache(maxsize=4)
def _opened(path: str, folder: int) -> Base:
    return open_base(path)
