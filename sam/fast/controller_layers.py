"""Controllers as the compiled loops over a sequence take them: layers of one kind, side by side.

A controller is one LSTM, GRU or feed-forward layer, or a `StackedController` of such layers, all of
one kind and width. Here their parameters become matrices for all layers, their states one tensor a
part, and what the loops bring back the gradients of each parameter.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sam.controller import (
    FeedForwardController,
    FeedForwardState,
    GRUController,
    GRUState,
    LSTMController,
    LSTMState,
    StackedController,
    StackState,
)
from sam.customized import is_customized
from sam.fast.loops.kernel_arrays import FEEDFORWARD, GRU, LSTM, Weights
from sam.fast.packing import panels_of


class Kind(NamedTuple):
    """A kind of layers."""

    part: tuple[str, type[nn.Module]]  # what of the layer has the parameters
    names: tuple[str, ...]  # of the parameters, those of the layer's inputs first
    state: Any  # its class; the fields are what a layer carries from step to step
    gates: int  # G / C, see `Weights`
    number: int  # see `Weights.kind`
    turned: bool = False  # whether the last of the gates comes first in the loops


_LAYER = "weight_ih", "weight_hh", "bias_ih", "bias_hh"
KINDS: dict[type, Kind] = {
    LSTMController: Kind(("cell", nn.LSTMCell), _LAYER, LSTMState, 4, LSTM),
    GRUController: Kind(("cell", nn.GRUCell), _LAYER, GRUState, 4, GRU, True),
    FeedForwardController: Kind(
        ("layer", nn.Linear), ("weight", "bias"), FeedForwardState, 1, FEEDFORWARD
    ),
}


class LaidOut(NamedTuple):
    """Parameters for the loops, and what torch multiplies with x."""

    weights: Weights
    inputs: Tensor  # [L G, I]
    bias: Any  # a tensor [L G]; None for the backward pass


class Layers(NamedTuple):
    """L layers with C units each."""

    kind: Kind
    num_layers: int  # L
    units: int  # C

    @property
    def width(self) -> int:
        """L C."""
        return self.num_layers * self.units

    @property
    def gates(self) -> int:
        """G."""
        return self.kind.gates * self.units

    @property
    def carried(self) -> int:
        """How many tensors go from step to step, [B, L C] each: h and c, or h, or none."""
        return len(self.kind.state._fields)

    @property
    def has_cells(self) -> bool:
        return self.carried > 1

    @property
    def parameters(self) -> int:
        """How many there are."""
        return self.num_layers * len(self.kind.names)

    def parameters_of(self, controller: Any) -> tuple[Tensor, ...]:
        """The parameters, those of the lowest layer first."""
        is_stack = isinstance(controller, StackedController)
        layers: Any = controller.layers if is_stack else (controller,)
        tables: list[Any] = [layer._modules[self.kind.part[0]]._parameters for layer in layers]
        return tuple(table[name] for table in tables for name in self.kind.names)

    def carried_of(self, state: Any) -> tuple[Tensor, ...]:
        """What a controller's state carries, of all layers side by side."""
        if not isinstance(state, StackState):
            return tuple(state)
        return tuple(torch.cat(parts, 1) for parts in zip(*state.layers, strict=True))

    def state_of(self, carried: Sequence[Tensor], controller: Any) -> Any:
        """The state of a controller that carries this."""
        if not isinstance(controller, StackedController):
            return self.kind.state(*carried)
        parts = [tensor.split(self.units, 1) for tensor in carried]
        return StackState(
            tuple(self.kind.state(*(part[i] for part in parts)) for i in range(self.num_layers))
        )

    def lay_out(
        self, parameters: Sequence[Tensor], width: int, reads: int, *, back: bool = False
    ) -> "LaidOut":
        """The parameters for the loops, in one direction.

        Args:
            parameters: of the layers, then weight and bias of the interface.
            width: I.
            reads: H W.
            back: whether they are for the backward pass.
        """
        *own_parameters, interface, bias = parameters
        layers = list(_parts(own_parameters, len(self.kind.names)))
        inward = [self._turn(each[0]) for each in layers]
        own = [each[1] for each in layers] if self.carried else []
        at, units = width + reads, self.units
        to_reads = [[(matrix, width, at)] for matrix in inward]
        if self._is_joined:
            to_reads, own = [[*to_reads[0], (own[0], 0, units)]], []
        to_below = [[(matrix, at, matrix.shape[1])] for matrix in inward[1:]]
        to_own = [[(matrix, 0, units)] for matrix in own]
        panels = functools.partial(panels_of, like=interface, back=back)
        weights = Weights(
            self.kind.number,
            panels(to_reads),
            panels(to_below),
            panels(to_own),
            sum(hi - lo for _, lo, hi in to_reads[0]) if back else len(inward[0]),
            panels([[(interface, 0, interface.shape[1])]])[0],
            bias.detach().numpy(),
        )
        return LaidOut(
            weights,
            _joined([self._to_gates(matrix[:, :width]) for matrix in inward]),
            None if back else _joined([self._bias(each[len(each) // 2 :]) for each in layers]),
        )

    def grads(
        self, gates: Tensor, inputs: Tensor, hidden: Tensor, reads: Tensor, begins: Tensor | None
    ) -> list[Tensor]:
        """Gradients of the parameters, each as one product over all steps.

        Args:
            gates: gradients of what went into them, [T, B, L G]; zero afterwards where an episode
                begins.
            inputs: x, [T, B, I].
            hidden, reads: h and r, [1 + T, B, ...]; the first ones are those before the first step.
            begins: which rows begin an episode with a step, bool [T, B], or None if none does.
        """
        by_step, size, layers = gates.flatten(0, 1), self.gates, range(self.num_layers)
        columns = by_step.t()
        step = size - self.units if self.kind.turned else size
        inward = [slice(layer * size, layer * size + step) for layer in layers]
        onward = [slice((layer + 1) * size - step, (layer + 1) * size) for layer in layers]
        units = [slice(layer * self.units, (layer + 1) * self.units) for layer in layers]
        # Few rows and many columns take a library less time than many rows and few columns.
        given = torch.mm(inputs.reshape(-1, inputs.shape[2]).t(), by_step).t()
        at = inputs.shape[2], inputs.shape[2] + reads.shape[2]
        widths = (at[1], *[at[1] + self.units] * (self.num_layers - 1))
        outer = [gates.new_empty(step, width) for width in widths]
        for layer in layers[1:]:
            below = hidden[1:, :, units[layer - 1]].flatten(0, 1)
            torch.mm(columns[inward[layer]], below, out=outer[layer][:, at[1] :])
        biases = [columns[here].sum(1) for here in inward]
        others = [columns[here].sum(1) for here in onward] if self.kind.turned else biases
        if begins is not None:  # to these nothing came from the step before
            by_step.index_fill_(0, begins.view(-1).nonzero()[:, 0], 0.0)
        read, found = reads[:-1].flatten(0, 1), []
        for layer in layers:
            here, last, own = inward[layer], onward[layer], units[layer]
            outer[layer][:, : at[0]] = given[here]
            torch.mm(columns[here], read, out=outer[layer][:, at[0] : at[1]])
            found.append(self._turn(outer[layer], -1))
            if self.carried:
                before = hidden[:-1, :, own].flatten(0, 1)
                found.append(torch.mm(columns[last], before))
                found += [self._turn(biases[layer], -1), others[layer].clone()]
            else:
                found.append(biases[layer])
        return found

    @property
    def _is_joined(self) -> bool:
        """Whether r and h are multiplied at once: both go to the same gates, side by side."""
        return self.num_layers == 1 and self.has_cells

    def _turn(self, matrix: Tensor, by: int = 1) -> Tensor:
        """Rows in the order of the loops, or back."""
        return matrix.roll(by * self.units, 0) if self.kind.turned else matrix

    def _to_gates(self, matrix: Tensor) -> Tensor:
        """Zeros for gates that take nothing from outside of the layer."""
        more = self.gates - len(matrix)
        return functional.pad(matrix, (0, 0, 0, more)) if more else matrix

    def _bias(self, parts: Sequence[Tensor]) -> Tensor:
        if len(parts) == 1:
            return parts[0]
        inward, own = parts
        more = self.gates - len(own)
        if more:
            inward, own = (
                functional.pad(self._turn(inward), (0, more)),
                functional.pad(own, (more, 0)),
            )
        return inward + own


class Carried(NamedTuple):
    """The differentiable part of the state between two steps."""

    controller: tuple[Tensor, ...]  # of all layers side by side, see `Layers.carried`
    reads: Tensor  # r, [B, H W]
    values: Tensor  # w^R, [B, H, K]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        return *self.controller, self.reads, self.values

    @classmethod
    def of(cls, tensors: Sequence[Any]) -> "Carried":
        """From `tensors`."""
        return cls(tuple(tensors[:-2]), *tensors[-2:])


def layers_of(controller: Any) -> Layers | None:
    """The layers of a controller; None if the loops have no form for it, or somebody listens."""
    layers = (controller,)
    if type(controller) is StackedController:
        if is_customized(controller, StackedController):
            return None
        layers = tuple(controller.layers)
    first: Any = layers[0]
    kind = KINDS.get(type(first))
    if kind is None:
        return None
    for layer in layers:
        if is_customized(layer, type(first)) or layer.output_size != first.output_size:
            return None
        part: Any = layer._modules[kind.part[0]]
        if is_customized(part, kind.part[1]) or part._parameters[kind.names[-1]] is None:
            return None
    return Layers(kind, len(layers), first.output_size)


def _parts(tensors: Sequence[Tensor], size: int) -> list[Sequence[Tensor]]:
    return [tensors[at : at + size] for at in range(0, len(tensors), size)]


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)
