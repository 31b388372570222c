"""Looking at a network's write gates from outside, whatever path its steps take.

A hook would force the steps to be taken one by one. Instead, a network reports the outputs of its
controller at the end of each call; one small matrix product gives the gates.
"""

import math
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sam.interface import Interface

_WATCHING: ContextVar["GateWatch | None"] = ContextVar("gate watch", default=None)


class GateWatch:
    """The mean write gate of all steps of the networks called inside a ``with`` block.

    Cost: a call of B rows and T steps, O(B T C) for a controller of C units; nothing outside.
    """

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def __enter__(self) -> "GateWatch":
        self._token = _WATCHING.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        _WATCHING.reset(self._token)

    @property
    def mean(self) -> float | None:
        """In [0, 1], 0 never writes; None if no network with write gates was called."""
        return self._sum / self._count if self._count else None

    def record(self, cell: Any, hidden: Tensor) -> None:
        """Takes the controller's outputs, [T, B, C], of a network with this cell."""
        interface = getattr(cell, "interface", None)
        if not isinstance(interface, Interface):
            return
        start = 0
        names = [field.name for field in interface.fields]
        for field in interface.fields:
            stop = start + math.prod(field.shape)
            # An NTM's gates of this name tell content from place, not whether to write.
            if field.name == "write_gates" and "write_shifts" not in names:
                linear = interface.linear
                weight, bias = linear.weight[start:stop], linear.bias[start:stop]
                with torch.no_grad():
                    units = hidden.to(weight.dtype)
                    gates = functional.linear(units, weight, bias).sigmoid()
                self._sum += gates.sum(dtype=torch.float64).item()
                self._count += gates.numel()
            start = stop


def report_units(cell: Any, hidden: Tensor) -> None:
    """Says what a cell's controller put out, if somebody watches."""
    if torch.compiler.is_compiling():  # which cannot follow a context variable
        return
    watch = _WATCHING.get()
    if watch is not None:
        watch.record(cell, hidden)
