"""Gradients of parameters that many steps share, made for many of them at once.

A step on its own would return an outer product for each parameter, and autograd would add it to
those of the other steps: that costs more than the step itself. Here the steps of a stretch depend
on one node that takes the parameters. In the backward pass each hands in an entry, of which some at
a time become one product a parameter; the node comes last, as all steps depend on it, and returns
the sums.
"""

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sam.fast.cell_tensors import Parameters
from sam.fast.loops.cell_arrays import CellWeights
from sam.fast.packing import panels_of
from sam.once_differentiable import once_differentiable
from sam.private_torch import backward_pass
from sam.store.gradient_tape import Tape

# The weights are laid out for compiled loops at this step of a stretch, counted from 1, or at this
# share of the units if that is later: by then products of torch have cost about as much more. From
# so many rows of a batch times units on torch multiplies faster.
_LAID_OUT_AT, _SHARE_OF_UNITS, _MANY_UNITS = 3, 1 / 32, 2**14
# An entry of so many rows is multiplied by itself, which needs no copy of it; smaller ones are put
# into one place first, of so many numbers at most.
_ROWS, _MOST_NUMBERS = 128, 2**22


class DeferredGrads:
    """What the steps that share parameters contributed, and how they multiply.

    The first steps leave their products to torch, since it takes as long as some steps to lay out
    the weights for compiled loops; so do all steps where the weights are large, or the rows many.

    Parameters count as the same while torch counts no change of them, and the same ones of them
    get gradients. What is written to their `.data` goes unnoticed, as it does by autograd.
    """

    __slots__ = (
        *("_back", "_entries", "_forward", "_lay_out", "_laid_out_at", "_numbers", "_pass"),
        *("_steps", "_sums", "_versions", "_wanted", "parameters"),
    )

    def __init__(self, parameters: Parameters, rows: int, lay_out: "LayOut") -> None:
        self._entries: list[Tensor] = []
        self._numbers = 0  # in all entries
        self._pass = -1
        self._sums: tuple[Tensor, ...] | None = None
        self.parameters = parameters
        units = parameters.weight_hh.shape[1]
        at = max(_LAID_OUT_AT, _SHARE_OF_UNITS * units)
        self._laid_out_at = at if rows * units < _MANY_UNITS else math.inf
        self._steps = 0
        self._lay_out = lay_out
        self._forward: Any = None
        self._back: Any = None
        self._versions = [tensor._version for tensor in parameters]
        self._wanted = [tensor.requires_grad for tensor in parameters]

    def weights(self) -> Any:
        """The weights laid out for the step that begins now; None for products of torch."""
        if self._forward is None:
            self._steps += 1
            if self._steps < self._laid_out_at:
                return None
            self._forward = self._lay_out(self.parameters, False)
        return self._forward

    def back_weights(self) -> Any:
        """The weights laid out for the backward pass of steps."""
        if self._back is None:
            self._back = self._lay_out(self.parameters, True)
        return self._back

    def is_for(self, parameters: Parameters) -> bool:
        """Whether these are the parameters, unchanged."""
        if not all(map(operator.is_, parameters, self.parameters)):
            return False
        if [tensor.requires_grad for tensor in parameters] != self._wanted:
            return False
        return [tensor._version for tensor in parameters] == self._versions

    def check_unchanged(self) -> None:
        """Raises RuntimeError, as torch does, if a parameter was changed after the steps.

        For the backward pass of each: where no parameter is asked for, theirs is not taken.
        """
        now = [tensor._version for tensor in self.parameters]
        if now != self._versions:
            pairs = zip(Parameters._fields, map(operator.ne, now, self._versions), strict=True)
            changed = next(name for name, differs in pairs if differs)
            raise RuntimeError(
                f"{changed}: expected the parameter as it was when the step was taken, got one "
                "modified by an inplace operation since; call backward before that"
            )

    def add(self, entry: Tensor) -> None:
        """Takes what a step contributes, in the backward pass.

        Args:
            entry: [x ; r_{t-1} ; h_{t-1} | gates | h | controls], with the gradients of gates and
                controls in their place.
        """
        self._enter()
        self._entries.append(entry)
        self._numbers += entry.numel()
        if len(entry) >= _ROWS or self._numbers >= _MOST_NUMBERS:
            self._multiply()

    def take_grads(self) -> Parameters | None:
        """The gradients of the parameters from all entries so far; None if there was none."""
        self._enter()
        if self._entries:
            self._multiply()
        if self._sums is None:
            return None
        inward, own, bias, *interface = self._sums
        self._sums = None
        return Parameters(inward, own, bias, bias.clone(), *interface)

    def _enter(self) -> None:
        """Drops what another backward pass left, one that ended before it came to the node."""
        now = backward_pass()
        if now != self._pass:
            self._entries, self._numbers, self._sums, self._pass = [], 0, None, now

    def _multiply(self) -> None:
        """The products of the entries, which are then free."""
        kept = self._entries[0] if len(self._entries) == 1 else torch.cat(self._entries)
        self._entries, self._numbers = [], 0
        width, units = self.parameters.weight_ih.shape[1], self.parameters.weight_hh.shape[1]
        left, before, gates, hidden, controls = kept.split_with_sizes(
            (width, units, 4 * units, units, kept.shape[1] - width - 6 * units), 1
        )
        products = (gates, left), (gates, before), (controls, hidden)
        if self._sums is None:
            inward, own, weight = (torch.mm(grad.t(), given) for grad, given in products)
            self._sums = inward, own, gates.sum(0), weight, controls.sum(0)
            return
        inward, own, bias, weight, interface_bias = self._sums
        for total, (grad, given) in zip((inward, own, weight), products, strict=True):
            total.addmm_(grad.t(), given)
        bias.add_(gates.sum(0))
        interface_bias.add_(controls.sum(0))


LayOut = Callable[[Parameters, bool], Any]
"""Lays out parameters for compiled loops, for the forward pass or the backward pass."""


def lay_out(given: Parameters, back: bool) -> CellWeights:
    """The weights for the loops of a step of a cell, in one direction."""
    with torch.no_grad():
        gates = [(matrix, 0, matrix.shape[1]) for matrix in (given.weight_ih, given.weight_hh)]
        interface = [(given.weight, 0, given.weight.shape[1])]
        return CellWeights(
            panels_of([gates], given.weight, back=back)[0],
            (given.bias_ih + given.bias_hh).numpy(),
            panels_of([interface], given.weight, back=back)[0],
            given.bias.detach().contiguous().numpy(),
        )


@functools.cache
def no_weights(dtype: Any) -> CellWeights:
    """For loops that do not multiply."""
    matrix, bias = np.empty((0, 0, 0), dtype), np.empty(0, dtype)
    return CellWeights(matrix, bias, matrix, bias)


def attach_deferred_grads(
    token: Tensor, tape: Tape, parameters: Parameters, rows: int, lay_out: LayOut = lay_out
) -> tuple[Tensor, DeferredGrads]:
    """The token, and the deferred gradients, for a step of so many rows with these parameters."""
    deferred = tape.deferred_grads
    if deferred is None or not deferred.is_for(parameters):
        deferred = tape.deferred_grads = DeferredGrads(parameters, rows, lay_out)
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
        grads = ctx.deferred_grads.take_grads()
        if grads is None:
            grads = [None] * len(Parameters._fields)
        return grad_token, None, *grads
