"""Tasks from data of one's own: what they share."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import torch

from sam.errors import ConfigError, DataMissingError
from sam.tasks.levels import check_call
from sam.tasks.task import Batch, Kind


class DataTask(ABC):
    """A task that draws its batches from data. A subclass gives `kind`, the sizes and `draw`.

    ::

        @dataclass(frozen=True, kw_only=True)
        class Mine(DataTask):
            kind = "classes"
            input_size, output_size = 3, 2
            path: str = "mine.csv"

            def draw(self, batch_size, generator, split):
                ...
                return Batch(inputs, targets, mask, {})

    Data have no difficulty, so there is one level only, 1, and no curriculum.
    """

    __slots__ = ()

    kind: ClassVar[Kind]
    # Without a type these are no settings.
    levels = 1, 1
    start_level = 1

    @property
    @abstractmethod
    def input_size(self) -> int:
        """Features of an input."""

    @property
    @abstractmethod
    def output_size(self) -> int:
        """Classes, bits or values of an output."""

    @abstractmethod
    def draw(self, batch_size: int, generator: torch.Generator, split: str) -> Batch:
        """Draws sequences from a part of the data: ``"train"``, ``"valid"`` or ``"test"``.

        The generator alone decides which.
        """

    def sample(
        self, batch_size: int, *, generator: torch.Generator, level: int | None = None
    ) -> Batch:
        """Draws a training batch; `level` is None or 1."""
        check_call(batch_size)
        check_only_level(() if level is None else (level,))
        return self.draw(batch_size, generator, "train")

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Draws `count` sequences from a part of the data, in batches of at most `batch_size`."""
        check_call(batch_size, count=count, split=split)
        check_only_level(levels)
        return (
            self.draw(min(batch_size, count - done), generator, split)
            for done in range(0, count, batch_size)
        )


def check_only_level(levels: tuple[int, ...]) -> None:
    """Raises ValueError for another level than 1."""
    if any(level != 1 for level in levels):
        raise ValueError(f"level: expected 1, the only level of data, got {levels}")


def check_held_out(fraction: float) -> None:
    """Raises ConfigError unless something is left to train on."""
    if not 0 < fraction < 0.5:
        raise ConfigError(f"held_out: expected a fraction above 0 and below 0.5, got {fraction!r}")


def existing(path: str, what: str) -> Path:
    """The path of a task's data.

    Raises:
        ConfigError: none is given.
        DataMissingError: there is nothing.
    """
    if not path:
        raise ConfigError(f"task.path: expected {what}, got none; give it with --task.path")
    found = Path(path)
    if not found.exists():
        raise DataMissingError(
            f"task.path: expected {what}, got {path}, which does not exist"
            + ("" if found.is_absolute() else f" in {Path.cwd()}")
        )
    return found
