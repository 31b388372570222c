"""Tasks that are drawn at a level: what they share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar

import torch
from torch import Tensor

from sam.available import refused_if_too_large
from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.tasks.task import Batch, Kind

SPLITS = ("train", "valid", "test")


def check_whole(name: str, value: object, least: int) -> None:
    """Raises ConfigError unless the setting is a whole number from `least` on, below 2^31."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: expected a whole number >= {least}, got {value!r}")
    check_between(name, value, least)


def check_call(batch_size: int, *, count: int = 1, split: str = "test") -> None:
    """Raises ValueError unless a batch can be drawn with these arguments."""
    for name, value in (("batch_size", batch_size), ("count", count)):
        check_between(name, value, 1)
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")


class LevelTask(ABC):
    """A task that is drawn, whose sequences get longer with one whole number, the level.

    All sequences of a batch share a level, so there is no padding. A subclass is a frozen dataclass
    that gives its channels, its `levels` and `_draw`. Nothing is stored between batches, and the
    generator alone decides what is drawn.
    """

    __slots__ = ()

    kind: ClassVar[Kind] = "bits"
    easiest: ClassVar[int] = 1  # the lowest level that has an answer
    curriculum_start: ClassVar[int]  # models.md A18

    @property
    @abstractmethod
    def levels(self) -> tuple[int, int]:
        """Lowest and highest level that `sample` draws from when no level is given."""

    @property
    def start_level(self) -> int:
        """Where an exponential curriculum begins, kept inside `levels`."""
        low, high = self.levels
        return min(max(self.curriculum_start, low), high)

    @abstractmethod
    def _draw(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        """Draws one batch at a level that has been checked."""

    def _draw_held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        """Likewise, of a split, for an evaluation: one batch, or one sequence's parts in order."""
        yield self._draw(batch_size, level, generator)

    def sample(
        self, batch_size: int, *, generator: torch.Generator, level: int | None = None
    ) -> Batch:
        """Draws one batch, every sequence at the same level.

        Args:
            batch_size: sequences, at least 1.
            generator: source of all randomness, on the CPU.
            level: difficulty; drawn uniformly from `levels` when None. It may lie above
                `levels`, to test generalisation or for a curriculum.

        Returns:
            Inputs [T, B, input_size], targets [T, B, output_size] and mask [T, B].

        Raises:
            ValueError: `batch_size` or `level` is too small, or so large that the batch does not
                fit into memory.

        Cost: O(T B) time; no Python loop over the batch.
        """
        check_call(batch_size)
        if level is None:
            low, high = self.levels
            level = int(torch.randint(low, high + 1, (), generator=generator))
        self._check_level(level)
        return self._drawn(batch_size, level, generator)

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields `count` fresh sequences at each level, in batches of at most `batch_size`.

        Args:
            batch_size: most sequences in one batch.
            generator: source of all randomness, on the CPU.
            levels: the levels to draw; all of the task's range when empty.
            count: sequences at each level.
            split: accepted for the protocol; where every draw is fresh, all splits are alike.

        Raises:
            ValueError: at the call, not at the first batch, if an argument is not valid.
        """
        check_call(batch_size, count=count, split=split)
        low, high = self.levels
        chosen = levels or range(low, high + 1)
        for level in (min(chosen), max(chosen)) if levels else (low, high):
            self._check_level(level)
        return (
            batch
            for level in chosen
            for done in range(0, count, batch_size)
            for batch in self._held_out(min(batch_size, count - done), level, generator, split)
        )

    def _check_level(self, level: int) -> None:
        check_between("level", level, self.easiest)

    def _drawn(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        """`_draw`; the error names the batch that did not fit into memory."""
        with refused_if_too_large(f"a batch of {batch_size} sequences at level {level}"):
            return self._draw(batch_size, level, generator)

    def _held_out(
        self, batch_size: int, level: int, generator: torch.Generator, split: str
    ) -> Iterator[Batch]:
        """`_draw_held_out`, likewise."""
        parts = self._draw_held_out(batch_size, level, generator, split)
        while True:
            with refused_if_too_large(f"a batch of {batch_size} sequences at level {level}"):
                batch = next(parts, None)
            if batch is None:
                return
            yield batch


class RangeTask(LevelTask):
    """A `LevelTask` with a setting for each end of its levels."""

    __slots__ = ()

    level_settings: ClassVar[tuple[str, str]]  # names of the lowest and the highest level
    slice_name: ClassVar[str]  # what results are grouped by

    def __post_init__(self) -> None:
        (low_name, low), (high_name, high) = ((n, getattr(self, n)) for n in self.level_settings)
        check_whole(low_name, low, self.easiest)
        check_whole(high_name, high, self.easiest)
        if low > high:
            raise ConfigError(f"{low_name}: expected at most {high_name}={high}, got {low}")

    @property
    def levels(self) -> tuple[int, int]:
        """The values of the two settings."""
        low, high = (getattr(self, name) for name in self.level_settings)
        return low, high

    def _slices(self, batch_size: int, level: int) -> dict[str, Tensor]:
        return {self.slice_name: torch.full((batch_size,), level)}


class BitTask(RangeTask):
    """A `RangeTask` whose vectors have `bits` bits."""

    __slots__ = ()

    extra_channels: ClassVar[int]  # of the inputs, after the data channels

    bits: int

    def __post_init__(self) -> None:
        RangeTask.__post_init__(self)
        check_whole("bits", self.bits, 1)

    @property
    def input_size(self) -> int:
        """The data channels, and those that mark and delimit."""
        return self.bits + self.extra_channels

    @property
    def output_size(self) -> int:
        """One logit per bit."""
        return self.bits

    def _empty(self, level: int, steps: int, answer: Tensor) -> Batch:
        """A batch with inputs of zeros, whose last steps are scored.

        Args:
            level: of all sequences.
            steps: T.
            answer: the targets of the last A steps, [A, B, output_size].
        """
        length, batch_size, bits = answer.shape
        targets = torch.zeros(steps, batch_size, bits, dtype=torch.float32)
        targets[steps - length :] = answer
        mask = torch.zeros(steps, batch_size, dtype=torch.bool)
        mask[steps - length :] = True
        inputs = torch.zeros(steps, batch_size, self.input_size, dtype=torch.float32)
        return Batch(inputs, targets, mask, self._slices(batch_size, level))
