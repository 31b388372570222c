"""Controllers: the recurrent network that drives a memory, behind one protocol.

state = controller.initial_state(batch_size, device=..., dtype=...)
hidden, state = controller(inputs, state)        # [B, input_size] -> [B, output_size]
"""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sam import state as states


class Controller(Protocol):
    """What a cell needs of a controller; any nn.Module that has it will do."""

    @property
    def input_size(self) -> int: ...

    @property
    def output_size(self) -> int: ...

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> Any: ...

    def __call__(self, inputs: Tensor, state: Any) -> tuple[Tensor, Any]: ...


class LSTMState(NamedTuple):
    """State of an LSTM layer."""

    hidden: Tensor  # h, [B, C]
    cell: Tensor  # c, [B, C]

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)


class GRUState(NamedTuple):
    """State of a GRU layer."""

    hidden: Tensor  # h, [B, C]

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)


class FeedForwardState(NamedTuple):
    """A feed-forward controller keeps nothing; what it must remember goes to the memory."""

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)


class LSTMController(nn.Module):
    """One LSTM layer without peepholes.

    Args:
        input_size: width of the inputs plus the words read, I + R W.
        hidden_size: C.
        forget_bias: initial bias of the forget gate.

    Cost: O(C (input_size + C)) time a step and batch row.
    """

    def __init__(self, input_size: int, hidden_size: int, *, forget_bias: float = 1.0) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.cell = nn.LSTMCell(input_size, hidden_size)
        set_forget_bias(self.cell.bias_ih, self.cell.bias_hh, forget_bias)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> LSTMState:
        zeros = torch.zeros(batch_size, self.output_size, device=device, dtype=dtype)
        return LSTMState(zeros, zeros)

    def forward(self, inputs: Tensor, state: LSTMState) -> tuple[Tensor, LSTMState]:
        hidden, cell = self.cell(inputs, (state.hidden, state.cell))
        return hidden, LSTMState(hidden, cell)


class GRUController(nn.Module):
    """One GRU layer; arguments as `LSTMController`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.cell = nn.GRUCell(input_size, hidden_size)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> GRUState:
        return GRUState(torch.zeros(batch_size, self.output_size, device=device, dtype=dtype))

    def forward(self, inputs: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        hidden = self.cell(inputs, state.hidden)
        return hidden, GRUState(hidden)


class FeedForwardController(nn.Module):
    """One hidden layer of tanh units (NTM paper, 3.4); arguments as `LSTMController`."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.layer = nn.Linear(input_size, hidden_size)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> FeedForwardState:
        return FeedForwardState()

    def forward(self, inputs: Tensor, state: FeedForwardState) -> tuple[Tensor, FeedForwardState]:
        return torch.tanh(self.layer(inputs)), state


CONTROLLERS: dict[str, type[LSTMController | GRUController | FeedForwardController]] = {
    "lstm": LSTMController,
    "gru": GRUController,
    "feedforward": FeedForwardController,
}


def set_forget_bias(bias_ih: Tensor, bias_hh: Tensor, value: float) -> None:
    """Sets the forget gate's summed bias; torch orders the gates input, forget, cell, output."""
    size = len(bias_ih) // 4
    with torch.no_grad():
        bias_ih[size : 2 * size] = value
        bias_hh[size : 2 * size] = 0.0
