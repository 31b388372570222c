"""Forecasting: the next values of a series of one's own, from a CSV file."""

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.setting_checks import check_between
from sam.tasks.csv_files import read_table
from sam.tasks.data_task import DataTask, check_held_out, existing
from sam.tasks.levels import check_whole
from sam.tasks.task import Batch, Kind


class _Parts(NamedTuple):
    inputs: Tensor  # [rows, I], standardised
    targets: Tensor  # [rows, O], standardised
    spans: dict[str, tuple[int, int]]  # first and last row + 1 of each split


@dataclass(frozen=True, kw_only=True, slots=True)
class Series(DataTask):
    """A row a time step, a column a quantity: at each step, what comes `horizon` steps later.

    All columns are standardised by mean and standard deviation of the training rows, so an error of
    1 is a standard deviation. The last rows are held out: first those for validation, then those
    for testing.

    Args:
        path: a CSV file, with or without a header.
        columns: names of the inputs; all that begin with a number when empty.
        targets: names of what is predicted; the inputs when empty.
        length: steps of a sequence; fewer if a part of the file is shorter.
        horizon: how many steps ahead.
        loss: squared error, or the Huber loss, which does not heed outliers as much.
        huber_delta: in standard deviations; larger errors count linearly.
        held_out: fraction of the rows for validation, and as many again for testing.

    Raises:
        ConfigError: a setting is out of its range.
    """

    kind: ClassVar[Kind] = "values"

    path: str = ""
    columns: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    length: int = 50
    horizon: int = 1
    loss: Literal["mse", "huber"] = "mse"
    huber_delta: float = 1.0
    held_out: float = 0.1

    def __post_init__(self) -> None:
        for name in ("columns", "targets"):  # lists would not be hashable
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_whole("length", self.length, 1)
        check_whole("horizon", self.horizon, 1)
        check_held_out(self.held_out)
        check_between("huber_delta", self.huber_delta, 1e-6)

    @property
    def input_size(self) -> int:
        """The columns that are read."""
        return self._parts().inputs.shape[1]

    @property
    def output_size(self) -> int:
        """The columns that are predicted."""
        return self._parts().targets.shape[1]

    def draw(self, batch_size: int, generator: torch.Generator, split: str) -> Batch:
        """Draws windows of a part of the file, each place equally likely; all steps are scored."""
        inputs, targets, spans = self._parts()
        first, last = spans[split]
        length = min(self.length, last - first - self.horizon)
        starts = torch.randint(
            first, last - self.horizon - length + 1, (batch_size,), generator=generator
        )
        steps = torch.arange(length)[:, None] + starts
        mask = torch.ones(length, batch_size, dtype=torch.bool)
        return Batch(inputs[steps], targets[steps + self.horizon], mask, {})

    def _parts(self) -> _Parts:
        path = existing(self.path, "the CSV file of a series")
        changed = path.stat().st_mtime_ns
        return _read(path, changed, self.columns, self.targets, self.horizon, self.held_out)


@functools.lru_cache(maxsize=8)
def _read(
    path: Path,
    changed: int,
    columns: tuple[str, ...],
    targets: tuple[str, ...],
    horizon: int,
    held_out: float,
) -> _Parts:
    table = read_table(path)
    columns = columns or table.numeric()
    targets = targets or columns
    rows, held = len(table.rows), round(held_out * len(table.rows))
    if held < horizon + 1:
        raise ConfigError(
            f"{path}: expected at least {horizon + 1} rows to hold out for horizon={horizon}, got "
            f"{held_out:g} of {rows} rows"
        )
    spans = {
        "train": (0, rows - 2 * held),
        "valid": (rows - 2 * held, rows - held),
        "test": (rows - held, rows),
    }
    training = rows - 2 * held
    inputs, wanted = (standardised(table.numbers(names), training) for names in (columns, targets))
    return _Parts(inputs, wanted, spans)


def standardised(numbers: Tensor, training: int) -> Tensor:
    """Columns with mean 0 and standard deviation 1 over the first `training` rows, [rows, C]."""
    known = numbers[:training].double()
    mean, deviation = known.mean(0), known.std(0, correction=0)
    # A column that never changes has no deviation to divide by.
    return ((numbers - mean) / torch.where(deviation > 0, deviation, 1.0)).float()
