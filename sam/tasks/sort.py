"""Priority sort: output the vectors of highest priority in order (NTM paper, sec. 4.5)."""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch

from sam.errors import ConfigError
from sam.tasks.drawing import random_bits
from sam.tasks.levels import BitTask
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class PrioritySort(BitTask):
    """n random vectors, each with a priority; answer the ``ceil(keep n)`` highest, highest first.

    The level is n. The paper's task is 20 vectors of which 16 are answered, the default here;
    a lower `min_items` opens a range for a curriculum. The paper gives neither the bits of a vector
    nor the channels: 8 bits, and ``bits`` data channels, the priority, the delimiter.
    ``T = n + 1 + ceil(keep n)`` steps::

        steps       data channels    priority               delimiter    scored
        0 .. n-1    vector t         uniform in [-1, 1)     0            no
        n           0                0                      1            no
        the rest    0                0                      0            yes

    Of two vectors with equal priorities (once in about 10^5 sequences) the first shown comes first.

    Args:
        min_items: fewest vectors drawn in training.
        max_items: most vectors drawn in training.
        bits: bits of a vector.
        keep: fraction of the vectors to answer, in (0, 1].

    Raises:
        ConfigError: a setting is out of its range, or the range of items is empty.
    """

    curriculum_start: ClassVar[int] = 4
    level_settings: ClassVar[tuple[str, str]] = "min_items", "max_items"
    extra_channels: ClassVar[int] = 2
    slice_name: ClassVar[str] = "items"

    min_items: int = 20
    max_items: int = 20
    bits: int = 8
    keep: float = 0.8

    def __post_init__(self) -> None:
        BitTask.__post_init__(self)
        if not (isinstance(self.keep, (int, float)) and 0.0 < self.keep <= 1.0):
            raise ConfigError(f"keep: expected a fraction in (0, 1], got {self.keep!r}")

    def answer_length(self, level: int) -> int:
        """The number of vectors to answer, of `level` ones."""
        # 0.55 * 100 is 55.00000000000001 in binary, and must not become 56.
        return math.ceil(self.keep * level - 1e-9)

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        vectors = random_bits((level, batch_size, self.bits), generator)
        priority = 2.0 * torch.rand((level, batch_size), generator=generator, dtype=torch.float32)
        priority = priority - 1.0
        order = torch.sort(priority, dim=0, descending=True, stable=True).indices
        answer = vectors[order[: self.answer_length(level)], torch.arange(batch_size)]
        batch = self._empty(level, level + 1 + len(answer), answer)
        batch.inputs[:level, :, : self.bits] = vectors
        batch.inputs[:level, :, self.bits] = priority
        batch.inputs[level, :, self.bits + 1] = 1.0
        return batch
