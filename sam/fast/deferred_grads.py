"""Gradients of parameters that many steps share, made for all of them at once.

A step on its own would return an outer product for each parameter, and autograd would add it to
those of the other steps: that costs more than the step itself. Here the steps of a stretch depend
on one node that takes the parameters. In the backward pass each adds an entry to the node's list;
the node comes last, as all steps depend on it, and makes one product a parameter of all entries.
"""

import operator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.fast.cell_tensors import Parameters
from sam.fast.loops.cell_loops import CellWeights, CellWeightsBack
from sam.once_differentiable import once_differentiable
from sam.store.gradient_tape import Tape


class Entry(NamedTuple):
    """What the backward pass of a step contributes."""

    kept: Tensor  # `StepOutputs.kept`, with the gradients of gates and controls in their place
    hidden: Tensor  # h, [B, C]


class DeferredGrads:
    """The entries of the steps that share parameters, and these as the compiled loops take them.

    Parameters count as the same while torch counts no change of them. What is written to their
    `.data` goes unnoticed, as it does by autograd.
    """

    __slots__ = ("_back", "_parameters", "_versions", "entries", "weights")

    def __init__(self, parameters: Parameters) -> None:
        self.entries: list[Entry] = []
        with torch.no_grad():
            every = torch.cat([parameters.weight_ih, parameters.weight_hh], 1)
            interface = parameters.weight.contiguous()
            self.weights = CellWeights(
                all=every.t().contiguous().numpy(),
                bias=(parameters.bias_ih + parameters.bias_hh).numpy(),
                interface=interface.t().contiguous().numpy(),
                interface_bias=parameters.bias.detach().numpy(),
            )
        room = every.new_empty(0, every.shape[1])
        self._back = CellWeightsBack(every.numpy(), interface.detach().numpy(), room.numpy())
        self._parameters = parameters
        self._versions = [tensor._version for tensor in parameters]

    def back(self, batch_size: int) -> CellWeightsBack:
        """The parameters for the backward pass, with room for so many batch rows."""
        if len(self._back.of_all) != batch_size:
            room = np.empty((batch_size, self._back.all.shape[1]), self._back.all.dtype)
            self._back = self._back._replace(of_all=room)
        return self._back

    def is_for(self, parameters: Parameters) -> bool:
        """Whether these are the parameters, unchanged."""
        if not all(map(operator.is_, parameters, self._parameters)):
            return False
        return [tensor._version for tensor in parameters] == self._versions


def attach_deferred_grads(
    token: Tensor, tape: Tape, parameters: Parameters
) -> tuple[Tensor, DeferredGrads]:
    """The token, and the deferred gradients, for a step with these parameters."""
    deferred = tape.deferred_grads
    if deferred is None or not deferred.is_for(parameters):
        deferred = tape.deferred_grads = DeferredGrads(parameters)
        token = _Shared.apply(token, deferred, *parameters)  # type: ignore[assignment]
    return token, deferred


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, deferred: DeferredGrads, *parameters: Tensor) -> Tensor:
        ctx.deferred_grads = deferred
        ctx.save_for_backward(*parameters)  # so that torch notices a change of them
        ctx.set_materialize_grads(False)
        return token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        _ = ctx.saved_tensors
        entries, ctx.deferred_grads.entries = ctx.deferred_grads.entries, []
        if not entries:
            return (grad_token, *[None] * (1 + len(Parameters._fields)))
        kept, hidden = (torch.cat(parts) for parts in zip(*entries, strict=True))
        inner, units = ctx.deferred_grads.weights.all.shape[0], hidden.shape[1]
        every, gates, controls = kept.tensor_split((inner, inner + 4 * units), 1)
        bias, weights = gates.sum(0), torch.mm(gates.t(), every)
        grads = Parameters(
            weight_ih=weights[:, :-units],
            weight_hh=weights[:, -units:],
            bias_ih=bias,
            bias_hh=bias.clone(),
            weight=torch.mm(controls.t(), hidden),
            bias=controls.sum(0),
        )
        return grad_token, None, *grads
