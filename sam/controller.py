"""Controllers: the recurrent network that drives a memory, behind one protocol.

state = controller.initial_state(batch_size, device=..., dtype=...)
hidden, state = controller(inputs, state)        # [B, input_size] -> [B, output_size]
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from sam import state as states
from sam.errors import ConfigError, unknown_name
from sam.setting_checks import check_finite


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
    __deepcopy__ = states.deepcopied


class GRUState(NamedTuple):
    """State of a GRU layer."""

    hidden: Tensor  # h, [B, C]

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied


class FeedForwardState(NamedTuple):
    """A feed-forward controller keeps nothing; what it must remember goes to the memory."""

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied


class LSTMController(nn.Module):
    """One LSTM layer without peepholes.

    Args:
        input_size: width of the inputs plus the words read, I + R W.
        hidden_size: C.
        forget_bias: initial bias of the forget gate.
        device, dtype: of the parameters; torch's defaults without them.

    Cost: O(C (input_size + C)) time a step and batch row.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        forget_bias: float = 1.0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.forget_bias = forget_bias
        self.cell = nn.LSTMCell(input_size, hidden_size, device=device, dtype=dtype)
        set_forget_bias(self.cell.bias_ih, self.cell.bias_hh, forget_bias)

    def reset_parameters(self) -> None:
        """Draws all parameters anew."""
        self.cell.reset_parameters()
        set_forget_bias(self.cell.bias_ih, self.cell.bias_hh, self.forget_bias)

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

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.cell = nn.GRUCell(input_size, hidden_size, device=device, dtype=dtype)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> GRUState:
        return GRUState(torch.zeros(batch_size, self.output_size, device=device, dtype=dtype))

    def forward(self, inputs: Tensor, state: GRUState) -> tuple[Tensor, GRUState]:
        hidden = self.cell(inputs, state.hidden)
        return hidden, GRUState(hidden)


class FeedForwardController(nn.Module):
    """One hidden layer of tanh units (NTM paper, 3.4); arguments as `LSTMController`."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size, self.output_size = input_size, hidden_size
        self.layer = nn.Linear(input_size, hidden_size, device=device, dtype=dtype)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> FeedForwardState:
        return FeedForwardState()

    def forward(self, inputs: Tensor, state: FeedForwardState) -> tuple[Tensor, FeedForwardState]:
        return torch.tanh(self.layer(inputs)), state


class StackState(NamedTuple):
    """States of the layers of a stack, from the lowest up."""

    layers: tuple[Any, ...]

    detach = states.detach
    clone = states.clone
    reset = states.reset
    to = states.to
    nbytes = property(states.nbytes)
    __deepcopy__ = states.deepcopied


class StackedController(nn.Module):
    """Several layers of one kind with skip connections (DNC paper, Methods).

    Every layer sees the inputs, its own last output and, but for the lowest, what the layer below
    puts out now; the outputs of all layers together are the controller's.

    Args:
        layers: controllers from the lowest up; the inputs of each but the first are as many wider
            as the layer below has outputs.

    Raises:
        ConfigError: the widths do not fit together.
    """

    def __init__(self, layers: Sequence[Controller]) -> None:
        super().__init__()
        for below, layer in itertools.pairwise(layers):
            width = layers[0].input_size + below.output_size
            if layer.input_size != width:
                raise ConfigError(
                    f"layers: expected input_size={width} above a layer with "
                    f"{below.output_size} outputs, got {layer.input_size}"
                )
        self.layers = nn.ModuleList(layers)  # type: ignore[arg-type]
        self.input_size = layers[0].input_size
        self.output_size = sum(layer.output_size for layer in layers)

    def initial_state(
        self, batch_size: int, *, device: torch.device | str | None, dtype: torch.dtype
    ) -> StackState:
        kind = {"device": device, "dtype": dtype}
        layers: Any = self.layers
        return StackState(tuple(layer.initial_state(batch_size, **kind) for layer in layers))

    def forward(self, inputs: Tensor, state: StackState) -> tuple[Tensor, StackState]:
        outputs, after = [], []
        for layer, before in zip(self.layers, state.layers, strict=True):
            given = torch.cat([inputs, outputs[-1]], 1) if outputs else inputs
            output, next_state = layer(given, before)
            outputs.append(output)
            after.append(next_state)
        return torch.cat(outputs, 1), StackState(tuple(after))


CONTROLLERS: dict[str, type[LSTMController | GRUController | FeedForwardController]] = {
    "lstm": LSTMController,
    "gru": GRUController,
    "feedforward": FeedForwardController,
}


_MOST_LAYERS = 1000


def make_controller(
    name: str,
    input_size: int,
    hidden_size: int,
    *,
    num_layers: int = 1,
    forget_bias: float = 1.0,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
) -> Controller:
    """Builds a controller by name.

    Args:
        name: a key of `CONTROLLERS`.
        input_size: width of the inputs plus the words read.
        hidden_size: C, units of each layer.
        num_layers: more than one makes a `StackedController`.
        forget_bias: initial bias of the forget gate; LSTM only.
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        UnknownNameError: there is no such controller.
        ConfigError: `num_layers` is below 1 or absurd, or `forget_bias` is not finite.
    """
    if name not in CONTROLLERS:
        raise unknown_name("controller", name, CONTROLLERS)
    if not isinstance(num_layers, int) or not 1 <= num_layers <= _MOST_LAYERS:
        raise ConfigError(f"num_layers: expected 1 to {_MOST_LAYERS}, got {num_layers!r}")
    check_finite("forget_bias", forget_bias)
    options: dict[str, Any] = {"device": device, "dtype": dtype}
    if name == "lstm":
        options["forget_bias"] = forget_bias
    layers = [
        CONTROLLERS[name](input_size + (hidden_size if above else 0), hidden_size, **options)
        for above in range(num_layers)
    ]
    return layers[0] if num_layers == 1 else StackedController(layers)


def set_forget_bias(bias_ih: Tensor, bias_hh: Tensor, value: float) -> None:
    """Sets the forget gate's summed bias; torch orders the gates input, forget, cell, output."""
    size = len(bias_ih) // 4
    with torch.no_grad():
        bias_ih[size : 2 * size] = value
        bias_hh[size : 2 * size] = 0.0
