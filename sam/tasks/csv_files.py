"""Tables of numbers from CSV files, for tasks from data of one's own."""

import csv
import functools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.setting_checks import MOST_FLOAT

_SEPARATORS = ",;\t"


class Table(NamedTuple):
    """A CSV file as text."""

    path: Path
    names: tuple[str, ...]  # of the columns; "1", "2", ... without a header
    rows: list[list[str]]
    first_line: int  # of the rows, counted from 1

    def text(self, name: str) -> list[str]:
        """A column as text, without spaces around it."""
        place = self._place(name)
        return [row[place].strip() for row in self.rows]

    def numeric(self, apart_from: Sequence[str] = ()) -> tuple[str, ...]:
        """The columns whose first cell that is not empty is a number, finite or not.

        Raises:
            ConfigError: there is none.
        """
        first = {
            name: next((row[place] for row in self.rows if row[place].strip()), "")
            for place, name in enumerate(self.names)
        }
        found = tuple(n for n, cell in first.items() if n not in apart_from and _reads(cell))
        if not found:
            raise ConfigError(f"{self.path}: expected a column of numbers, got none")
        return found

    def numbers(self, names: Sequence[str]) -> Tensor:
        """Columns as numbers, [rows, columns] float32.

        Raises:
            ConfigError: there is no such column, or it is named twice, or a cell is no finite
                number of 32 bits.
        """
        twice = [name for name in names if [*names].count(name) > 1]
        if twice:
            raise ConfigError(f"{self.path}: expected column {twice[0]!r} once, got it twice")
        places = [self._place(name) for name in names]
        try:
            found = [[float(row[place]) for place in places] for row in self.rows]
        except ValueError:
            found = []
        table = torch.tensor(found, dtype=torch.float64).float()
        if not found or not bool(table.isfinite().all()):
            raise self._wrong_cell(names, places)
        return table

    def _place(self, name: str) -> int:
        if name not in self.names:
            known = ", ".join(self.names)
            raise ConfigError(f"{self.path}: expected a column of {known}, got {name!r}")
        return self.names.index(name)

    def _wrong_cell(self, names: Sequence[str], places: Sequence[int]) -> ConfigError:
        for line, row in enumerate(self.rows, self.first_line):
            for name, place in zip(names, places, strict=True):
                if not _is_number(row[place]):
                    return ConfigError(
                        f"{self.path}: row {line}, column {name!r}: expected a finite number, got "
                        f"{row[place]!r}"
                    )
                if abs(float(row[place])) > MOST_FLOAT:
                    return ConfigError(
                        f"{self.path}: row {line}, column {name!r}: expected a number of 32 bits, "
                        f"got {row[place]}"
                    )
        raise AssertionError("all cells are finite numbers of 32 bits")


def read_table(path: Path) -> Table:
    """Reads a CSV file; it is read again only when it has changed.

    The separator is a comma, a semicolon or a tab, whichever the first row has most of. The first
    row is a header if any cell of it is text: neither empty nor a number, as NaN is one.

    Raises:
        ConfigError: it is no text, empty, a row has another length than the first one, or two
            columns have one name.
        OSError: it cannot be read.
    """
    status = path.stat()
    return _read(path, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=1024)
def _read(path: Path, changed: int, size: int) -> Table:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            start = file.readline()
            file.seek(0)
            separator = max(_SEPARATORS, key=start.count)
            rows = [
                row for row in csv.reader(file, delimiter=separator) if any(map(str.strip, row))
            ]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"{path}: expected a CSV file in UTF-8, got {error}") from error
    header = bool(rows) and not all(_reads(cell) or not cell.strip() for cell in rows[0])
    names = [str(i + 1) for i in range(len(rows[0]) if rows else 0)]
    if header:
        names = [cell.strip() for cell in rows[0]]
    if len(rows) < 1 + header:
        raise ConfigError(f"{path}: expected a CSV file with rows of numbers, got none")
    for line, row in enumerate(rows, 1):
        if len(row) != len(names):
            raise ConfigError(f"{path}: row {line}: expected {len(names)} cells, got {len(row)}")
    twice = [name for name in names if name and names.count(name) > 1]
    if twice:
        raise ConfigError(f"{path}: expected one column {twice[0]!r}, got {names.count(twice[0])}")
    return Table(path, tuple(names), rows[header:], 1 + header)


def _is_number(cell: str) -> bool:
    return _reads(cell) and math.isfinite(float(cell))


def _reads(cell: str) -> bool:
    """Whether a cell is a number, perhaps NaN or infinite."""
    try:
        float(cell)
    except ValueError:
        return False
    return True
