"""The protocol of a task: a source of batches that knows nothing of models."""

from collections.abc import Iterator
from typing import ClassVar, Literal, NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor


class Batch(NamedTuple):
    """One minibatch of sequences, time first."""

    inputs: Tensor  # [T, B, I] float32
    targets: Tensor  # [T, B, O] float32 of 0 and 1 ("bits"), or [T, B] int64 classes ("classes")
    mask: Tensor  # [T, B] bool: the steps whose outputs are scored
    slices: dict[str, Tensor]  # each [B] int64: what to group results by, e.g. {"length": ...}


@runtime_checkable
class Task(Protocol):
    """A frozen dataclass of settings that can draw batches.

    `kind` says how outputs are scored: ``"bits"`` takes one logit per target bit (sigmoid
    cross-entropy), ``"classes"`` one logit per class (softmax cross-entropy).
    """

    kind: ClassVar[Literal["bits", "classes"]]

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
