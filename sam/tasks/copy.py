"""Copy: repeat a sequence of random vectors after a delimiter (NTM paper, sec. 4.1)."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from sam.tasks.drawing import random_bits
from sam.tasks.levels import BitTask
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Copy(BitTask):
    """A sequence of L random vectors, to be repeated in order. The level is L.

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
    level_settings: ClassVar[tuple[str, str]] = "min_length", "max_length"
    extra_channels: ClassVar[int] = 1
    slice_name: ClassVar[str] = "length"

    min_length: int = 1
    max_length: int = 20
    bits: int = 8

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        vectors = random_bits((level, batch_size, self.bits), generator)
        batch = self._empty(level, 2 * level + 1, vectors)
        batch.inputs[:level, :, : self.bits] = vectors
        batch.inputs[level, :, self.bits] = 1.0
        return batch
