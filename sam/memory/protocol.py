"""What a memory is: named controls from an interface, a state, and one step between them.

A memory has no parameters. Its step is a function of (controls, state), so it can be checked in
float64 and combined with any controller; everything specific to a model is in its memory's file.
"""

from typing import Any, ClassVar, NamedTuple, Protocol

import torch
from torch import Tensor

from sam.ops.squash import Activation


class Field(NamedTuple):
    """One named control that the interface emits at each step."""

    name: str
    shape: tuple[int, ...]  # without the batch, for example (H, W)
    activation: Activation = "none"


class Memory(Protocol):
    """The protocol. A memory is usually a frozen dataclass of its settings.

    One that can start with given words takes a further keyword `words` in `initial_state`. One
    whose state is not made of tensors alone takes a keyword `active` in `step`, bool [B]: the
    other batch rows, whose sequence has ended, stay as they are. Both are passed on only where
    they are needed, so other memories need not know of them. A memory that has the class of its
    states as `State` is never given another one's.
    """

    Controls: ClassVar[type[Any]]
    """NamedTuple of the controls, its fields named and ordered as `fields`; a memory without one
    gets them as attributes."""

    @property
    def fields(self) -> tuple[Field, ...]:
        """Layout of the interface."""
        ...

    @property
    def num_reads(self) -> int:
        """R, the words returned by a step."""
        ...

    @property
    def word_size(self) -> int:
        """W."""
        ...

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> Any:
        """The state at the start of an episode: a NamedTuple with the methods of `sam.state`.

        Its fields `read_weights` and `write_weights`, dense or sparse, are what a trace shows. A
        method `resize(memory_size)` lets it grow after training.
        """
        ...

    def step(self, controls: Any, state: Any) -> tuple[Tensor, Any]:
        """One time step: write, then read.

        Args:
            controls: the squashed interface, an instance of `Controls`, each [B, *shape].
            state: the state of the previous step; it is consumed.

        Returns:
            The words read, [B, R, W], and the next state.
        """
        ...
