"""What a memory is: named controls from an interface, a state, and one step between them.

A memory has no parameters. Its step is a function of (controls, state), so it can be checked in
float64 and combined with any controller; everything specific to a model is in its memory's file.
"""

from typing import Any, NamedTuple, Protocol

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

    What is declared below is required. The rest is optional, and a cell asks for it only where it
    is needed:

    - `State`, the class of the states: a state of another class is refused.
    - `Controls`, a NamedTuple whose fields are named and ordered as `fields`: the controls come as
      one. Without it they are attributes of a plain object.
    - `memory_size`, N, and a method `resize(memory_size)` of the state: the memory can grow.
    - Fields `read_weights` and `write_weights` of the state, each a tensor [B, H, N] or
      `SparseWeights`: they are what a trace shows.
    - A method `reset(mask)` of the state: `state.reset` begins anew with other numbers than zeros.
      `starts` begins with `initial_state` in any case.
    - A keyword `words` of `initial_state`: the memory can start with given words.
    - A keyword `active` of `step`, bool [B]: the other batch rows, whose sequence has ended, stay
      as they are. A memory that changes its state in place needs it.
    - A method `check_state(state, given)`: it checks a state before a step that is given a tensor
      [B, ...]. Without it the shapes are compared with those of `initial_state`.

    `sam.testing.MemoryContract` tests a memory against all of this.
    """

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
        """The state at the start of an episode: a NamedTuple of tensors [B, ...].

        Other fields are allowed if they have methods `detach`, `clone`, `to` and `reset`; see
        `sam.state`. With those of `sam.state_rows` rows of the state can be picked and joined.
        """
        ...

    def step(self, controls: Any, state: Any) -> tuple[Tensor, Any]:
        """One time step: write, then read.

        Args:
            controls: the squashed interface, with an attribute [B, *shape] for each field.
            state: the state of the previous step; it is consumed.

        Returns:
            The words read, [B, R, W], and the next state.
        """
        ...
