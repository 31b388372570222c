"""Gradients of parameters that many steps share, made for all of them at once.

A step on its own would return an outer product for each parameter, and autograd would add it to
those of the other steps: that costs more than the step itself. Here the steps of a stretch depend
on one node that takes the parameters. In the backward pass each adds an entry to the node's list;
the node comes last, as all steps depend on it, and makes one product a parameter of all entries.
"""

import functools
import math
import operator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam.fast.cell_tensors import Parameters
from sam.fast.loops.cell_arrays import CellWeights
from sam.fast.packing import packed
from sam.once_differentiable import once_differentiable
from sam.store.gradient_tape import Tape

# The weights are laid out for compiled loops at this step of a stretch, counted from 1, or at this
# share of the units if that is later: by then products of torch have cost about as much more. From
# so many rows of a batch times units on torch multiplies faster.
_LAID_OUT_AT, _SHARE_OF_UNITS, _MANY_UNITS = 8, 1 / 16, 2**14


class DeferredGrads:
    """What the steps that share parameters contributed, and how they multiply.

    The first steps leave their products to torch, since it takes as long as some steps to lay out
    the weights for compiled loops; so do all steps where the weights are large, or the rows many.

    Parameters count as the same while torch counts no change of them. What is written to their
    `.data` goes unnoticed, as it does by autograd.
    """

    __slots__ = ("_laid_out_at", "_steps", "_versions", "_weights", "entries", "parameters")

    def __init__(self, parameters: Parameters, rows: int) -> None:
        # Of each step, in the backward pass: [x ; r_{t-1} ; h_{t-1} | gates | h | controls], with
        # the gradients of gates and controls in their place.
        self.entries: list[Tensor] = []
        self.parameters = parameters
        units = parameters.weight_hh.shape[1]
        at = max(_LAID_OUT_AT, _SHARE_OF_UNITS * units)
        self._laid_out_at = at if rows * units < _MANY_UNITS else math.inf
        self._steps = 0
        self._weights: tuple[CellWeights, CellWeights] | None = None
        self._versions = [tensor._version for tensor in parameters]

    def weights(self) -> tuple[CellWeights, CellWeights] | tuple[None, None]:
        """The weights laid out for the step that begins now, and for its backward pass; or none."""
        if self._weights is None:
            self._steps += 1
            if self._steps < self._laid_out_at:
                return None, None
            self._weights = _laid_out(self.parameters)
        return self._weights

    def is_for(self, parameters: Parameters) -> bool:
        """Whether these are the parameters, unchanged."""
        if not all(map(operator.is_, parameters, self.parameters)):
            return False
        return [tensor._version for tensor in parameters] == self._versions


def _laid_out(given: Parameters) -> tuple[CellWeights, CellWeights]:
    with torch.no_grad():
        every = torch.cat([given.weight_ih, given.weight_hh], 1)
        bias = (given.bias_ih + given.bias_hh).numpy()
        controls = given.bias.detach().contiguous().numpy()
        ways = (every.t(), given.weight.t()), (every, given.weight)
        forward, back = (
            CellWeights(packed(gates).numpy(), bias, packed(interface).numpy(), controls)
            for gates, interface in ways
        )
    return forward, back


@functools.cache
def no_weights(dtype: Any) -> CellWeights:
    """For loops that do not multiply."""
    matrix, bias = np.empty((0, 0, 0), dtype), np.empty(0, dtype)
    return CellWeights(matrix, bias, matrix, bias)


def attach_deferred_grads(
    token: Tensor, tape: Tape, parameters: Parameters, rows: int
) -> tuple[Tensor, DeferredGrads]:
    """The token, and the deferred gradients, for a step of so many rows with these parameters."""
    deferred = tape.deferred_grads
    if deferred is None or not deferred.is_for(parameters):
        deferred = tape.deferred_grads = DeferredGrads(parameters, rows)
        token = _Shared.apply(token, deferred, *parameters)  # type: ignore[assignment]
    return token, deferred


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, deferred: DeferredGrads, *parameters: Tensor) -> Tensor:
        ctx.deferred_grads = deferred
        ctx.widths = parameters[0].shape[1], parameters[1].shape[1]  # I + H W, C
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
        kept = entries[0] if len(entries) == 1 else torch.cat(entries)
        width, units = ctx.widths
        both, prev, gates, hidden, controls = kept.split_with_sizes(
            (width, units, 4 * units, units, kept.shape[1] - width - 6 * units), 1
        )
        bias, gates = gates.sum(0), gates.t()
        grads = Parameters(
            weight_ih=torch.mm(gates, both),
            weight_hh=torch.mm(gates, prev),
            bias_ih=bias,
            bias_hh=bias.clone(),
            weight=torch.mm(controls.t(), hidden),
            bias=controls.sum(0),
        )
        return grad_token, None, *grads
