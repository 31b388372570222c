"""Memories and controllers that begin with other numbers than zeros: learned ones, or set ones."""

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn

from sam import ConfigError, Field, LSTMController, MemoryCell, MemoryNetwork
from sam import state as states
from tests.models.cases import IN, OUT, B, T, draw

N, W = 6, 4


class State(NamedTuple):
    words: Tensor  # [B, N, W]


class GrowingState(NamedTuple):
    words: Tensor  # [B, N, W]

    reset = states.reset

    def resize(self, memory_size: int) -> "GrowingState":
        return GrowingState(states.grown(self.words, memory_size, 1, fill=0.5))


class Learned(nn.Module):
    """Adds one word to all others; what the words are at first is a parameter."""

    num_reads, word_size, memory_size = 1, W, N
    fields = (Field("add", (W,)),)

    def __init__(self, kind: Any = State) -> None:
        super().__init__()
        self.kind = kind
        self.words = nn.Parameter(torch.full((N, W), 0.5))

    def initial_state(self, batch_size: int, **kind: Any) -> Any:
        return self.kind(self.words.expand(batch_size, -1, -1))

    def step(self, controls: Any, state: Any) -> tuple[Tensor, Any]:
        words = state.words + controls.add[:, None]
        return words.mean(1, keepdim=True), type(state)(words)


class LearnedController(LSTMController):
    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__(input_size, hidden_size)
        self.start = nn.Parameter(torch.full((hidden_size,), 0.3))

    def initial_state(self, batch_size: int, **kind: Any) -> Any:
        start = super().initial_state(batch_size, **kind)
        return start._replace(hidden=self.start.expand(batch_size, -1))


def network(kind: Any = State) -> MemoryNetwork:
    cell = MemoryCell(LearnedController(IN + W, 8), Learned(kind))  # type: ignore[arg-type]
    return MemoryNetwork(cell, OUT).double()


def test_starts_go_back_to_a_learned_initial_state() -> None:
    model, inputs = network(), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[4, 1] = starts[6, 1] = starts[2, 3] = True
    outputs, _ = model(inputs, starts=starts)
    for row, begin, end in ((1, 0, 4), (1, 4, 6), (1, 6, T), (3, 2, T), (0, 0, T)):
        alone, _ = model(inputs[begin:end, row : row + 1])
        found = outputs[begin:end, row : row + 1]
        torch.testing.assert_close(found, alone, rtol=0, atol=1e-12)


def test_the_gradient_of_a_start_flows_to_the_initial_state() -> None:
    model, inputs = network(), draw(T, 1, IN)
    starts = torch.zeros(T, 1, dtype=torch.bool)
    starts[4] = True
    model(inputs, starts=starts)[0][4:].sum().backward()
    learned = model.cell.memory.words, model.cell.controller.start
    found = [parameter.grad.clone() for parameter in learned]
    model.zero_grad()
    model(inputs[4:])[0].sum().backward()
    torch.testing.assert_close(found, [parameter.grad for parameter in learned])
    assert all(grad.any() for grad in found)


def test_a_state_that_has_grown_begins_anew_with_as_many_words() -> None:
    model, inputs = network(GrowingState), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[2, 1] = True
    outputs, state = model(inputs, model.initial_state(B).resize(9), starts=starts)
    assert state.memory.words.shape == (B, 9, W)
    alone, _ = model(inputs[2:, 1:2], model.initial_state(1).resize(9))
    torch.testing.assert_close(outputs[2:, 1:2], alone, rtol=0, atol=1e-12)


def test_a_reset_goes_back_to_the_initial_state_that_it_is_given() -> None:
    model, inputs = network(), draw(T, B, IN)
    _, state = model(inputs)
    mask = torch.tensor([True, False, True, False])
    found, _ = model(inputs, state.reset(mask, model.initial_state(B)))
    torch.testing.assert_close(found[:, mask], model(inputs)[0][:, mask], rtol=0, atol=1e-12)
    zeroed = model(inputs)[1].reset(mask)
    assert not zeroed.memory.words[mask].any() and zeroed.memory.words[~mask].any()


def test_a_trace_needs_weights_in_the_state() -> None:
    model, inputs = network(), draw(T, B, IN)
    _, state = model(inputs)
    with pytest.raises(ConfigError, match=r"trace: expected .*read_weights.*, got State without"):
        model(inputs, state, trace=True)
    model(inputs, state)  # the state has not been used
