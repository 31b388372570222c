"""Repeat copy: repeat a sequence of random vectors several times (NTM paper, sec. 4.2)."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from sam.errors import ConfigError
from sam.tasks.drawing import random_bits
from sam.tasks.levels import BitTask, check_whole
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatCopy(BitTask):
    """A sequence of L random vectors, to be repeated n times, and then to be ended. The level is L.

    Channels: ``bits`` data channels, the delimiter, the number of repeats; targets have ``bits``
    data channels and the end marker. ``T = L + 2 + L n + 1`` steps::

        steps        data channels    delimiter    repeats    target                scored
        0 .. L-1     vector t         0            0          no
        L            0                1            0          no
        L+1          0                0            r(n)       no
        then L n     0                0            0          vector, marker 0      yes
        last         0                0            0          zeros, marker 1       yes

    The number is shown as ``r(n) = (n - mean) / deviation``, those of a uniform draw from the
    training range, as in the paper, which has 8 bits and both L and n from 1 to 10. All sequences
    of a batch share L and n.

    Args:
        min_length: shortest sequence drawn in training, vectors.
        max_length: longest sequence drawn in training, vectors.
        min_repeats: fewest repeats drawn in training.
        max_repeats: most repeats drawn in training.
        eval_repeats: repeats in evaluations, to test generalisation; drawn as in training when
            None.
        bits: bits of a vector.

    Raises:
        ConfigError: a setting is not a whole number of at least 1, or a range is empty.
    """

    curriculum_start: ClassVar[int] = 2
    level_settings: ClassVar[tuple[str, str]] = "min_length", "max_length"
    extra_channels: ClassVar[int] = 2
    slice_name: ClassVar[str] = "length"

    min_length: int = 1
    max_length: int = 10
    min_repeats: int = 1
    max_repeats: int = 10
    eval_repeats: int | None = None
    bits: int = 8

    def __post_init__(self) -> None:
        BitTask.__post_init__(self)
        for name in ("min_repeats", "max_repeats", "eval_repeats"):
            if getattr(self, name) is not None:
                check_whole(name, getattr(self, name), 1)
        if self.min_repeats > self.max_repeats:
            raise ConfigError(
                f"min_repeats: expected at most max_repeats={self.max_repeats}, got "
                f"{self.min_repeats}"
            )

    @property
    def output_size(self) -> int:
        """One logit per bit, and one for the end marker."""
        return self.bits + 1

    def shown(self, repeats: int) -> float:
        """The number of repeats as the model sees it: mean 0 and variance 1 over training."""
        mean = (self.min_repeats + self.max_repeats) / 2
        count = self.max_repeats - self.min_repeats + 1
        return (repeats - mean) / (math.sqrt((count**2 - 1) / 12) or 1.0)

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        low, high = self.min_repeats, self.max_repeats
        repeats = int(torch.randint(low, high + 1, (), generator=generator))
        return self._repeated(batch_size, level, repeats, generator)

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        if self.eval_repeats is None:
            yield self._draw(batch_size, level, generator)
        else:
            yield self._repeated(batch_size, level, self.eval_repeats, generator)

    def _repeated(
        self, batch_size: int, level: int, repeats: int, generator: torch.Generator
    ) -> Batch:
        vectors = random_bits((level, batch_size, self.bits), generator)
        answer = torch.zeros(level * repeats + 1, batch_size, self.output_size, dtype=torch.float32)
        answer[:-1, :, : self.bits] = vectors.repeat(repeats, 1, 1)
        answer[-1, :, self.bits] = 1.0
        batch = self._empty(level, level + 2 + len(answer), answer)
        batch.inputs[:level, :, : self.bits] = vectors
        batch.inputs[level, :, self.bits] = 1.0
        batch.inputs[level + 1, :, self.bits + 1] = self.shown(repeats)
        batch.slices["repeats"] = torch.full((batch_size,), repeats)
        return batch
