"""The protocol of a task: a source of batches that knows nothing of models."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor

Kind = Literal["bits", "classes", "values", "tokens"]


class Batch(NamedTuple):
    """One minibatch of sequences, time first."""

    inputs: Tensor  # [T, B, I] float32
    # [T, B, O] float32 of 0 and 1 ("bits") or of any numbers ("values"); or [T, B] int64, each
    # below O ("classes", "tokens")
    targets: Tensor
    mask: Tensor  # [T, B] bool: the steps whose outputs are scored
    slices: dict[str, Tensor]  # each [B] int64: what to group results by, e.g. {"length": ...}
    # [T, B] bool: where a batch row begins anew. If given, the rows go on from where those of the
    # batch before have ended; without it every batch begins anew.
    starts: Tensor | None = None
    # [n, W] or [B, n, W] float32: what the memory holds when the rows begin anew, in its first
    # slots; for models that can be given words, and not together with `starts`
    words: Tensor | None = None

    def to(self, device: torch.device) -> "Batch":
        """The batch on a device."""
        inputs, targets, mask = (part.to(device) for part in self[:3])
        slices = {name: values.to(device) for name, values in self.slices.items()}
        starts = None if self.starts is None else self.starts.to(device)
        words = None if self.words is None else self.words.to(device)
        return Batch(inputs, targets, mask, slices, starts, words)

    def rows(self, rows: slice) -> "Batch":
        """Some of the rows."""
        inputs, targets, mask = (part[:, rows] for part in self[:3])
        slices = {name: values[rows] for name, values in self.slices.items()}
        starts = None if self.starts is None else self.starts[:, rows]
        shared = self.words is None or self.words.dim() == 2
        words = self.words if self.words is None or shared else self.words[rows]
        return Batch(inputs, targets, mask, slices, starts, words)


@runtime_checkable
class Task(Protocol):
    """A frozen dataclass of settings that can draw batches.

    `kind` says how outputs are scored: ``"bits"`` takes one logit per target bit (sigmoid
    cross-entropy), ``"classes"`` one logit per class (softmax cross-entropy) and counts questions,
    ``"tokens"`` likewise, and counts bits per token, ``"values"`` numbers as they are. A task of
    the last kind may have the attributes `loss`, ``"mse"`` unless given or ``"huber"``, and
    `huber_delta`, from where on errors count linearly, 1 unless given.
    """

    kind: ClassVar[Kind]

    @property
    def input_size(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    @property
    def levels(self) -> tuple[int, int]:
        """Lowest and highest difficulty that `sample` draws from when no level is given."""
        ...

    @property
    def start_level(self) -> int:
        """Where an exponential curriculum begins."""
        ...

    def sample(
        self, batch_size: int, *, generator: torch.Generator, level: int | None = None
    ) -> Batch:
        """Draws one training batch, reproducibly from `generator`, at one level or a random one."""
        ...

    def evaluation(
        self,
        batch_size: int,
        *,
        generator: torch.Generator,
        levels: tuple[int, ...] = (),
        count: int = 200,
        split: str = "test",
    ) -> Iterator[Batch]:
        """Yields held-out batches: `count` sequences a level, or all of a data set's split."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A task that is judged by numbers of its own, beside those of its kind."""

    def measures(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Numbers of each sequence, by name.

        An evaluation calls this and tells their means over the sequences of a slice, in the order
        of the names.

        Args:
            outputs: of a model for the batch, [T, B, O].
            batch: of this task.

        Returns:
            Each [B], of any dtype; NaN for a sequence that does not count.
        """
        ...


def evaluation_levels(task: Task) -> tuple[int, int]:
    """Lowest and highest level of evaluations: the task's own, or what it says they are.

    A task may have the attribute `evaluation_levels` where levels of training mean something else.
    """
    return getattr(task, "evaluation_levels", task.levels)


@runtime_checkable
class Stream(Protocol):
    """A task whose training batches go on from one another, such as a long text read in parts."""

    def window(self, batch_size: int, number: int) -> Batch:
        """The batch of this number, counted from 0; the same each time, with `starts`."""
        ...
