"""Needle: one marked vector among noise, asked for after up to a million steps."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch

from sam.tasks.drawing import random_bits
from sam.tasks.levels import BitTask, check_whole
from sam.tasks.task import Batch


@dataclass(frozen=True, kw_only=True, slots=True)
class Needle(BitTask):
    """One random vector is marked; after D steps of noise it is asked for. The level is D.

    Channels: ``bits`` data channels, the mark of the fact, the question. Before the fact come at
    most `lead` steps of noise, as many in all of a batch. ``T = before + D + 3`` steps::

        steps         data channels    mark    question    target    scored
        before        noise            0       0                     no
        then 1        fact             1       0                     no
        then D        noise            0       0                     no
        then 1        0                0       1                     no
        last          0                0       0           fact      yes

    Noise is random bits, as the fact is. Training batches are whole. An evaluation gives a sequence
    of more than `part` steps in parts, one after another, and the model's state is carried on; so
    a million steps take no more memory than `part` of them.

    Args:
        min_distance: fewest steps between fact and question in training.
        max_distance: most of them in training.
        bits: bits of a vector.
        lead: most steps of noise before the fact.
        part: steps of an evaluation that are made and run at once.

    Raises:
        ConfigError: a setting is out of its range, or the range of distances is empty.
    """

    curriculum_start: ClassVar[int] = 8
    level_settings: ClassVar[tuple[str, str]] = "min_distance", "max_distance"
    extra_channels: ClassVar[int] = 2
    slice_name: ClassVar[str] = "distance"

    min_distance: int = 1
    max_distance: int = 100
    bits: int = 8
    lead: int = 8
    part: int = 1000

    def __post_init__(self) -> None:
        BitTask.__post_init__(self)
        check_whole("lead", self.lead, 0)
        check_whole("part", self.part, 1)

    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        before = self._before(generator)
        parts = self._parts(batch_size, before, level, before + level + 3, generator)
        return next(parts)._replace(starts=None)

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        before = self._before(generator)
        for batch in self._parts(batch_size, before, level, self.part, generator):
            whole = len(batch.inputs) == before + level + 3
            yield batch._replace(starts=None) if whole else batch

    def _before(self, generator: torch.Generator) -> int:
        return int(torch.randint(self.lead + 1, (), generator=generator))

    def _parts(
        self, batch_size: int, before: int, level: int, part: int, generator: torch.Generator
    ) -> Iterator[Batch]:
        """Sequences in parts of at most `part` steps, each drawn when it is asked for."""
        fact = random_bits((batch_size, self.bits), generator)
        question, last = before + 1 + level, before + level + 2
        for begin in range(0, last + 1, part):
            step = torch.arange(begin, min(begin + part, last + 1))
            size = len(step), batch_size, self.bits
            noise = random_bits(size, generator)
            inputs = torch.cat([noise, torch.zeros(*size[:2], 2)], dim=2)
            inputs[step == before, :, : self.bits] = fact
            inputs[step == before, :, self.bits] = 1.0
            inputs[step >= question] = 0.0
            inputs[step == question, :, self.bits + 1] = 1.0
            targets = torch.zeros(size)
            targets[step == last] = fact
            mask = (step == last).unsqueeze(1).repeat(1, batch_size)
            starts = (step == 0).unsqueeze(1).repeat(1, batch_size)
            yield Batch(inputs, targets, mask, self._slices(batch_size, level), starts)
