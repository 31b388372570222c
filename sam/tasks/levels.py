"""Tasks of random bits drawn at a level: choosing the level, cutting an evaluation into batches."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import torch

from sam.available import told_when_too_large
from sam.errors import ConfigError
from sam.tasks.task import Batch

SPLITS = ("train", "valid", "test")
MOST = 2**31 - 1  # of any size; whether a batch fits into memory shows when it is drawn


def check_whole(name: str, value: object, least: int) -> None:
    """Raises ConfigError unless the setting is a whole number from `least` on, below 2^31."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name}: expected a whole number >= {least}, got {value!r}")
    if value > MOST:
        raise ConfigError(f"{name}: expected at most {MOST}, got {value}")


def check_range(low_name: str, low: int, high_name: str, high: int, *, least: int) -> None:
    """Raises ConfigError unless ``least <= low <= high``, both whole numbers."""
    check_whole(low_name, low, least)
    check_whole(high_name, high, least)
    if low > high:
        raise ConfigError(f"{low_name}: expected at most {high_name}={high}, got {low}")


def check_call(batch_size: int, *, count: int = 1, split: str = "test") -> None:
    """Raises ValueError unless a batch can be drawn with these arguments."""
    for name, value in (("batch_size", batch_size), ("count", count)):
        if value < 1:
            raise ValueError(f"{name}: expected at least 1, got {value}")
        if value > MOST:
            raise ValueError(f"{name}: expected at most {MOST}, got {value}")
    if split not in SPLITS:
        raise ValueError(f"split: expected one of {', '.join(SPLITS)}, got {split!r}")


class LevelTask(ABC):
    """A task of random bits whose sequences get longer with one whole number, the level.

    All sequences of a batch share a level, so there is no padding. A subclass is a frozen dataclass
    that gives its channels, its `levels` and `_draw`; nothing is stored between batches, and the
    generator alone decides what is drawn.
    """

    __slots__ = ()

    kind: ClassVar[Literal["bits", "classes"]] = "bits"
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

    def sample(
        self, batch_size: int, *, generator: torch.Generator, level: int | None = None
    ) -> Batch:
        """Draws one batch, every sequence at the same level.

        Args:
            batch_size: sequences, at least 1.
            generator: source of all randomness, on the CPU.
            level: difficulty; drawn uniformly from `levels` when None. It may lie above `levels`,
                to ask how a trained model generalises or to go on with a curriculum.

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
            split: accepted for the protocol; every draw is fresh, so all splits are alike.

        Raises:
            ValueError: at the call, not at the first batch, if an argument is not valid.
        """
        check_call(batch_size, count=count, split=split)
        low, high = self.levels
        chosen = levels or range(low, high + 1)
        for level in (min(chosen), max(chosen)) if levels else (low, high):
            self._check_level(level)
        return (
            self._drawn(min(batch_size, count - done), level, generator)
            for level in chosen
            for done in range(0, count, batch_size)
        )

    def _check_level(self, level: int) -> None:
        if level < self.easiest:
            raise ValueError(f"level: expected at least {self.easiest}, got {level}")
        if level > MOST:
            raise ValueError(f"level: expected at most {MOST}, got {level}")

    def _drawn(self, batch_size: int, level: int, generator: torch.Generator) -> Batch:
        """`_draw`, or the error that tells which batch did not fit into memory."""
        with told_when_too_large(f"a batch of {batch_size} sequences at level {level}"):
            return self._draw(batch_size, level, generator)
