"""Copy: give a sequence of random vectors back after a delimiter (NTM paper, sec. 4.1)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sam.tasks.drawing import random_bits
from sam.tasks.levels import LevelTask, check_range, check_whole
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy(LevelTask):
    """A sequence of L random vectors, to be given back in order. The level is L.

    Channels: ``bits`` data channels, then the delimiter. ``T = 2 L + 1`` steps::

        steps        data channels    delimiter    target    scored
        0 .. L-1     vector t         0            0         no
        L            0                1            0         no
        L+1 .. 2L    0                0            vector t-L-1    yes

    The paper fixes lengths 1 to 20 and 8 bits; the channel layout is ours.

    Args:
        min_length: shortest sequence drawn in training, vectors.
        max_length: longest sequence drawn in training, vectors.
        bits: bits of a vector.

    Raises:
        ConfigError: a setting is not a whole number of at least 1, or the range is empty.
    """

    curriculum_start: ClassVar[int] = 4

    min_length: int = 1
    max_length: int = 20
    bits: int = 8

    def __post_init__(self) -> None:
        check_range("min_length", self.min_length, "max_length", self.max_length, least=1)
        check_whole("bits", self.bits, 1)

    @property
    def input_size(self) -> int:
        """The data channels and the delimiter."""
        return self.bits + 1

    @property
    def output_size(self) -> int:
        """One logit per bit."""
        return self.bits

    @property
    def levels(self) -> tuple[int, int]:
        """The lengths drawn in training."""
        return self.min_length, self.max_length

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        steps = 2 * level + 1
        vectors = random_bits((level, batch_size, self.bits), generator)
        inputs = torch.zeros(steps, batch_size, self.input_size, dtype=torch.float32)
        inputs[:level, :, : self.bits] = vectors
        inputs[level, :, self.bits] = 1.0
        targets = torch.zeros(steps, batch_size, self.bits, dtype=torch.float32)
        targets[level + 1 :] = vectors
        mask = torch.zeros(steps, batch_size, dtype=torch.bool)
        mask[level + 1 :] = True
        return Batch(inputs, targets, mask, {"length": torch.full((batch_size,), level)})
