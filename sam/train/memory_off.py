"""The same model with its memory off: whatever it does there, what it reads is zero.

Controller, interface and output layer keep their trained parameters, and where the words read would
go, to the controller at the next step and to the outputs, there are zeros. What such a model still
gets right it has in its controller; the difference is what the memory contributes.
"""

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sam import state as states
from sam.errors import ConfigError
from sam.memory.protocol import Field, Memory


class SilentState(NamedTuple):
    """Of a memory that keeps nothing."""

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)


class SilentMemory:
    """Takes the controls of another memory, and answers with zeros.

    Args:
        memory: the other one.

    Cost: that of the zeros.
    """

    State = SilentState

    def __init__(self, memory: Memory) -> None:
        self.fields: Sequence[Field] = tuple(memory.fields)
        self.num_reads, self.word_size = memory.num_reads, memory.word_size

    def initial_state(
        self,
        batch_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> SilentState:
        """The only state there is."""
        return SilentState()

    def step(self, controls: Any, state: SilentState) -> tuple[Tensor, SilentState]:
        """Zeros, [B, R, W]."""
        some: Tensor = getattr(controls, self.fields[0].name)
        return some.new_zeros(len(some), self.num_reads, self.word_size), state


def has_memory(model: nn.Module) -> bool:
    """Whether there is a memory to be switched off."""
    return hasattr(getattr(model, "cell", None), "memory")


def memory_off(model: nn.Module) -> nn.Module:
    """A copy of a model, its parameters included, with a `SilentMemory` in place of its own.

    Raises:
        ConfigError: the model has no memory.
    """
    if not has_memory(model):
        raise ConfigError(f"memory off: expected a model with a memory, got {type(model).__name__}")
    silent = copy.deepcopy(model)
    cell: Any = silent.cell
    memory = cell.memory
    del cell.memory  # which may be a module
    cell.memory = SilentMemory(memory)
    return silent
