"""A naive model of what a state is: each batch row on its own, from its history, in plain torch."""

from copy import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Steps(NamedTuple):
    """Inputs that a row took."""

    inputs: Tensor  # [T, 1, I]
    graph: bool  # whether the call built one


class Resized(NamedTuple):
    memory_size: int


class Cut(NamedTuple):
    """Here no gradient goes further back."""


class Row:
    """One batch row: what happened to it since it last began anew, and the state that gives.

    Args:
        model: in the plain form.
        words: what the memory holds at the start, [n, W].
    """

    def __init__(self, model: Any, words: Tensor | None) -> None:
        self.model, self.words = model, words
        self.history: list[Any] = []
        self._size: Resized | None = None  # of the memory now, if it has grown
        self._state: Any = None  # None where it has to be made from the history

    def begin_anew(self) -> None:
        """Empty, with a memory as large as it is now."""
        self.history = [] if self._size is None else [self._size]
        self.words = self._state = None

    def fork(self) -> "Row":
        """Another row with the same past, whose state shares nothing with this one's."""
        other = copy(self)
        other.history, other._state = [*self.history], None
        return other

    def steps(self, inputs: Tensor, *, graph: bool) -> Tensor:
        """Outputs [T, 1, O]."""
        state = self._current()
        with torch.set_grad_enabled(graph):
            outputs, self._state = self.model(inputs, state)
        self.history.append(Steps(inputs, graph))
        return outputs

    def note(self, event: Resized | Cut) -> None:
        if isinstance(event, Resized):
            self._size = event
        self._state = _after(event, self._current())
        self.history.append(event)

    def _current(self) -> Any:
        if self._state is not None:
            return self._state
        kind = {} if self.words is None else {"words": self.words}
        state = self.model.initial_state(1, **kind)
        for event in self.history:
            if isinstance(event, Steps):
                with torch.set_grad_enabled(event.graph):
                    _, state = self.model(event.inputs, state)
            else:
                state = _after(event, state)
        return state


def _after(event: Resized | Cut, state: Any) -> Any:
    return state.detach() if isinstance(event, Cut) else state.resize(event.memory_size)
