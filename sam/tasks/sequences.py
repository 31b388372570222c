"""Classification of sequences of one's own: each has a label."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from sam.errors import ConfigError
from sam.tasks.csv_files import Table, read_table
from sam.tasks.data_task import DataTask, check_held_out, check_only_level, existing
from sam.tasks.levels import SPLITS, check_call
from sam.tasks.series import standardised
from sam.tasks.task import Batch, Kind

_WHAT = "a folder with a folder for each label, or a CSV file"


class _Data(NamedTuple):
    sequences: list[Tensor]  # each [T, I], standardised
    labels: Tensor  # [sequences] int64
    names: tuple[str, ...]  # of the labels
    places: dict[str, Tensor]  # numbers of the sequences of each split, the shortest first


@dataclass(frozen=True, kw_only=True, slots=True)
class Sequences(DataTask):
    """Sequences of numbers, of any lengths; the label is asked for at the last step.

    The data are either a folder, in which ``LABEL/anything.csv`` is a sequence, a row a step
    (folders whose name begins with a dot are no labels); or
    one CSV file whose rows also have the name of their sequence and its label. Columns are
    standardised over the training sequences. Of each label a part is held out, always the same.

    Args:
        path: the folder or the file.
        columns: names of the inputs; all that begin with a number when empty, apart from the
            following two.
        sequence_column: of a file: what the rows of a sequence have in common.
        label_column: of a file: its label.
        held_out: fraction of each label's sequences for validation, and as many for testing.

    Raises:
        ConfigError: a setting is out of its range.
    """

    kind: ClassVar[Kind] = "classes"

    path: str = ""
    columns: tuple[str, ...] = ()
    sequence_column: str = "sequence"
    label_column: str = "label"
    held_out: float = 0.15

    def __post_init__(self) -> None:
        object.__setattr__(self, "columns", tuple(self.columns))  # a list would not be hashable
        check_held_out(self.held_out)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted; the classes are their places."""
        return self._data().names

    @property
    def slice_names(self) -> dict[str, tuple[str, ...]]:
        """The labels, by which results are grouped."""
        return {"label": self.labels}

    @property
    def input_size(self) -> int:
        """The columns that are read."""
        return self._data().sequences[0].shape[1]

    @property
    def output_size(self) -> int:
        """One logit per label."""
        return len(self._data().names)

    def draw(self, batch_size: int, generator: torch.Generator, split: str) -> Batch:
        """Draws sequences of a part, each equally likely."""
        data = self._data()
        places = data.places[split]
        drawn = torch.randint(len(places), (batch_size,), generator=generator)
        return _batch(data, places[drawn])

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields every sequence of a part once, the shortest first; `count` is not heeded."""
        check_call(batch_size, count=count, split=split)
        check_only_level(levels)
        data = self._data()
        return (_batch(data, chosen) for chosen in data.places[split].split(batch_size))

    def _data(self) -> _Data:
        path = existing(self.path, _WHAT)
        key = self.columns, self.sequence_column, self.label_column, self.held_out
        return _read(path, path.stat().st_mtime_ns, *key)


def _batch(data: _Data, places: Tensor) -> Batch:
    """Padded at the end, which the model's answers before it do not see."""
    chosen = [data.sequences[place] for place in places.tolist()]
    inputs, last = pad_sequence(chosen), torch.tensor([len(one) - 1 for one in chosen])
    mask = torch.arange(len(inputs))[:, None] == last
    labels = data.labels[places]
    return Batch(inputs, labels.expand(mask.shape), mask, {"label": labels})


@functools.lru_cache(maxsize=8)
def _read(
    path: Path,
    changed: int,
    columns: tuple[str, ...],
    sequence_column: str,
    label_column: str,
    held_out: float,
) -> _Data:
    if path.is_dir():
        found = _from_folder(path, columns)
    else:
        found = _from_file(read_table(path), columns, sequence_column, label_column)
    names = tuple(sorted({label for label, _ in found}))
    labels = torch.tensor([names.index(label) for label, _ in found])
    if len(names) < 2:
        raise ConfigError(f"{path}: expected at least 2 labels, got {', '.join(names) or 'none'}")
    places = _split(labels, held_out, names, path)
    order = torch.cat([places[split] for split in SPLITS]).tolist()
    parts = [found[place][1] for place in order]
    training = sum(len(part) for part in parts[: len(places["train"])])
    ready = standardised(torch.cat(parts), training).split([len(part) for part in parts])
    lengths = torch.tensor([len(part) for part in parts])
    spans = torch.arange(len(order)).split([len(places[split]) for split in SPLITS])
    sorted_spans = (span[lengths[span].argsort(stable=True)] for span in spans)
    return _Data([*ready], labels[order], names, dict(zip(SPLITS, sorted_spans, strict=True)))


def _from_folder(path: Path, columns: tuple[str, ...]) -> list[tuple[str, Tensor]]:
    labels = sorted(one for one in path.iterdir() if one.is_dir() and not one.name.startswith("."))
    of_label = {label: sorted(label.glob("*.csv")) for label in labels}
    if not any(of_label.values()):
        raise ConfigError(f"{path}: expected files LABEL/NAME.csv in it, got none")
    for label, inside in of_label.items():
        if not inside:
            raise ConfigError(f"{label}: expected files NAME.csv of this label, got none")
    files = [file for inside in of_label.values() for file in inside]
    columns = columns or read_table(files[0]).numeric()
    return [(file.parent.name, read_table(file).numbers(columns)) for file in files]


def _from_file(
    table: Table, columns: tuple[str, ...], sequence_column: str, label_column: str
) -> list[tuple[str, Tensor]]:
    own = (sequence_column, label_column)
    names, labels = table.text(sequence_column), table.text(label_column)
    numbers = table.numbers(columns or table.numeric(apart_from=own))
    rows: dict[str, list[int]] = {}
    for row, name in enumerate(names):
        rows.setdefault(name, []).append(row)
    for name, own_rows in rows.items():
        given = {labels[row] for row in own_rows}
        if len(given) > 1:
            raise ConfigError(
                f"{table.path}: sequence {name!r}: expected one label, got "
                f"{', '.join(map(repr, sorted(given)))}"
            )
    return [(labels[own_rows[0]], numbers[own_rows]) for own_rows in rows.values()]


def _split(
    labels: Tensor, held_out: float, names: tuple[str, ...], path: Path
) -> dict[str, Tensor]:
    """Numbers of the sequences of each split; a part of each label, drawn the same each time."""
    parts: dict[str, list[Tensor]] = {split: [] for split in SPLITS}
    generator = torch.Generator().manual_seed(0)
    for label, name in enumerate(names):
        own = (labels == label).nonzero().squeeze(1)
        own = own[torch.randperm(len(own), generator=generator)]
        held = max(1, round(held_out * len(own)))
        if len(own) <= 2 * held:
            raise ConfigError(
                f"{path}: label {name!r}: expected at least 3 sequences, to hold some out, got "
                f"{len(own)}"
            )
        sizes = [len(own) - 2 * held, held, held]
        for split, part in zip(SPLITS, own.split(sizes), strict=True):
            parts[split].append(part)
    return {split: torch.cat(part).sort().values for split, part in parts.items()}
