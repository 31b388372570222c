"""Language modelling by characters, on a text of one's own."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sam.errors import ConfigError
from sam.tasks.data_task import DataTask, check_held_out, check_only_level, existing
from sam.tasks.levels import check_call, check_whole
from sam.tasks.task import Batch, Kind

_MOST = 4096  # characters of a vocabulary: inputs are one-hot


class _Tokens(NamedTuple):
    ids: Tensor  # [characters] int64
    vocabulary: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Text(DataTask):
    """At each step one character, one-hot; to predict is the next one.

    In training the text is cut into as many streams as a batch has rows. Each update reads the next
    `length` characters of all streams, and the model's state is carried on: truncated
    backpropagation through time. At its end every stream begins anew, with an empty memory. The end
    of the text is held out: first a part for validation, then one for testing.

    Args:
        path: a text file, UTF-8.
        length: characters of an update, through which gradients flow.
        held_out: fraction of the text for validation, and as much again for testing.

    Raises:
        ConfigError: a setting is out of its range.
    """

    kind: ClassVar[Kind] = "tokens"

    path: str = ""
    length: int = 50
    held_out: float = 0.05

    def __post_init__(self) -> None:
        check_whole("length", self.length, 1)
        check_held_out(self.held_out)

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The different characters of the text, sorted."""
        return self._tokens().vocabulary

    @property
    def input_size(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    @property
    def output_size(self) -> int:
        """The size of the vocabulary."""
        return len(self.vocabulary)

    def encode(self, text: str) -> Tensor:
        """Characters as numbers, [T] int64.

        Raises:
            ValueError: a character is not in the vocabulary.
        """
        numbers = {character: i for i, character in enumerate(self.vocabulary)}
        for character in text:
            if character not in numbers:
                raise ValueError(f"text: expected characters of {self.path}, got {character!r}")
        return torch.tensor([numbers[character] for character in text], dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """The text of numbers [T]."""
        return "".join(self.vocabulary[i] for i in ids.tolist())

    def inputs(self, ids: Tensor) -> Tensor:
        """What a model is given for numbers of any shape: [..., V] float32."""
        return functional.one_hot(ids, len(self.vocabulary)).float()

    def window(self, batch_size: int, number: int) -> Batch:
        """The batch of this number, counted from 0, of all streams of the training part.

        Raises:
            ConfigError: the text is too short for so many streams.
        """
        return self._window(self._part("train"), batch_size, number)

    def draw(self, batch_size: int, generator: torch.Generator, split: str) -> Batch:
        """Draws windows, each place of a part equally likely; each begins anew."""
        ids = self._part(split)
        places = torch.randint(len(ids) - self.length, (batch_size,), generator=generator)
        return self._batch(ids, places)

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields a part's streams from their beginning, `count` windows or as many as there are.

        Args:
            batch_size: most streams; fewer if the part is short.
            generator: accepted for the protocol; nothing is drawn.
            levels: empty or (1,).
            count: windows, rounded up to whole batches.
            split: ``"test"``, ``"valid"`` or ``"train"``.
        """
        check_call(batch_size, count=count, split=split)
        check_only_level(levels)
        ids = self._part(split)
        streams = min(batch_size, count, len(ids) // (self.length + 1))
        windows = min(self._windows(ids, streams), -(-count // streams))
        return (self._window(ids, streams, number) for number in range(windows))

    def _window(self, ids: Tensor, streams: int, number: int) -> Batch:
        windows = self._windows(ids, streams)
        if not windows:
            raise ConfigError(
                f"{self.path}: expected at least {streams} x {self.length + 1} characters to train "
                f"{streams} streams on, got {len(ids)}"
            )
        number %= windows
        begins = torch.arange(streams) * (len(ids) // streams)
        batch = self._batch(ids, begins + number * self.length)
        starts = torch.zeros_like(batch.mask)
        starts[0] = number == 0
        return batch._replace(starts=starts)

    def _windows(self, ids: Tensor, streams: int) -> int:
        """Windows of each stream; after the last character of a window comes one to predict."""
        return (len(ids) // streams - 1) // self.length

    def _batch(self, ids: Tensor, places: Tensor) -> Batch:
        steps = torch.arange(self.length)[:, None] + places
        mask = torch.ones(steps.shape, dtype=torch.bool)
        return Batch(self.inputs(ids[steps]), ids[steps + 1], mask, {})

    def _part(self, split: str) -> Tensor:
        ids = self._tokens().ids
        held = round(self.held_out * len(ids))
        if held <= self.length:
            raise ConfigError(
                f"{self.path}: expected more than length={self.length} characters to hold out, got "
                f"{self.held_out:g} of {len(ids)}; a smaller --task.length or a larger "
                "--task.held-out may help"
            )
        spans = {"train": (0, -2 * held), "valid": (-2 * held, -held), "test": (-held, None)}
        return ids[slice(*spans[split])]

    def _tokens(self) -> _Tokens:
        path = existing(self.path, "a text file")
        return _read(path, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed: int) -> _Tokens:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a text file in UTF-8, got {error}") from error
    codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
    found, numbers = np.unique(codes, return_inverse=True)
    vocabulary = tuple(map(chr, found.tolist()))
    if not 2 <= len(vocabulary) <= _MOST:
        raise ConfigError(
            f"{path}: expected a text of 2 to {_MOST} different characters, got {len(vocabulary)}"
        )
    return _Tokens(torch.from_numpy(numbers).long(), vocabulary)
