"""Gradients of parameters that many steps share, made for all of them at once.

A step on its own would return an outer product for each parameter, and autograd would add it to
those of the other steps: per step that costs more than the step. Here the steps of a stretch hang
on one node that takes the parameters. On the way back they enter their parts into its ledger; the
node comes last, as everything depends on it, and turns all parts into one product a parameter.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sam.kernels.parts import Parameters
from sam.ops.tape import Tape


class Entry(NamedTuple):
    """What a step's way back contributes; gradients of what goes into the gates, and so on."""

    gates: Tensor  # gradient, [B, 4 C]
    both: Tensor  # [x ; r_{t-1}], [B, I + H W]
    before: Tensor  # h_{t-1}, [B, C]
    controls: Tensor  # gradient, [B, P]
    hidden: Tensor  # h, [B, C]


class Ledger:
    """The entries of the steps between two nodes."""

    __slots__ = ("_parameters", "_versions", "entries")

    def __init__(self, parameters: Parameters) -> None:
        self.entries: list[Entry] = []
        self._parameters = parameters
        self._versions = [tensor._version for tensor in parameters]

    def is_for(self, parameters: Parameters) -> bool:
        """Whether these are the parameters, unchanged."""
        return all(
            tensor is own and tensor._version == version
            for tensor, own, version in zip(
                parameters, self._parameters, self._versions, strict=True
            )
        )


def hang_on(token: Tensor, tape: Tape, parameters: Parameters) -> tuple[Tensor, Ledger]:
    """The token and the ledger for a step with these parameters."""
    ledger = tape.ledger
    if ledger is None or not ledger.is_for(parameters):
        ledger = tape.ledger = Ledger(parameters)
        token = _Shared.apply(token, ledger, *parameters)  # type: ignore[assignment]
    return token, ledger


class _Shared(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, token: Tensor, ledger: Ledger, *parameters: Tensor) -> Tensor:
        ctx.ledger = ledger
        ctx.set_materialize_grads(False)
        return token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None) -> Any:  # type: ignore[override]
        entries, ctx.ledger.entries = ctx.ledger.entries, []
        if not entries:
            return (grad_token, *[None] * (1 + len(Parameters._fields)))
        gates, both, before, controls, hidden = (
            torch.cat(parts) for parts in zip(*entries, strict=True)
        )
        turned, bias = gates.t(), gates.sum(0)
        grads = Parameters(
            weight_ih=torch.mm(turned, both),
            weight_hh=torch.mm(turned, before),
            bias_ih=bias,
            bias_hh=bias.clone(),
            weight=torch.mm(controls.t(), hidden),
            bias=controls.sum(0),
        )
        return grad_token, None, *grads
