"""Whole cells, step by step, and a network over a whole sequence, for `benchmarks.step`."""

from dataclasses import replace
from typing import NamedTuple, cast

import torch
from torch import Tensor

from benchmarks.step.step_ops import Op, Run, fewer, forms_of
from benchmarks.workload import Workload
from index.compiled import use_compiled
from sam.cell import CellState, MemoryCell
from sam.fast.dispatch import take_step
from sam.network import MemoryNetwork

SPARSE, DENSE = ("sam", "sdnc"), ("ntm", "dam", "dnc")
WRITTEN_STEPS = 40  # before what is timed, in a sparse memory


class Written(NamedTuple):
    """A cell after some steps."""

    cell: MemoryCell
    state: CellState
    hidden: Tensor  # h of the last step, [B, C]


def written(workload: Workload, name: str, memory_size: int) -> Written:
    """A cell whose memory was written to; a dense step costs the same from the beginning."""
    cell = cast(MemoryNetwork, workload.network(name, memory_size)).cell
    steps = WRITTEN_STEPS if name in SPARSE else 1
    # Without compiled forms: all forms start from the same numbers, to the last bit, anywhere.
    with torch.no_grad(), use_compiled(False):
        state, hidden = cell.initial_state(workload.batch_size), torch.empty(0)
        for given in replace(workload, steps=steps).inputs().unbind(0):
            hidden, state = take_step(cell, given, state)
    return Written(cell, state, hidden)


def cell_op(workload: Workload, name: str, memory_size: int, calls: int) -> Op:
    """Steps of a whole cell, controller, interface and memory, one after the other."""
    cell, start, _ = written(workload, name, memory_size)
    calls = calls if name in SPARSE else fewer(calls, memory_size)
    inputs = replace(workload, steps=calls).inputs()

    def prepare(calls: int) -> Run:
        cell.zero_grad(set_to_none=True)
        state = start.clone()

        def run() -> list[tuple[Tensor, Tensor]]:
            now, results = state, []
            for given in inputs[:calls].unbind(0):
                hidden, now = take_step(cell, given, now)
                results.append((hidden, now.reads))
            return results

        return run

    forms = forms_of(prepare, compiled=prepare if name in SPARSE else None)
    return Op("cell", name, memory_size, calls, forms)


def network_op(workload: Workload, memory_size: int) -> Op:
    """The steps of SAM's whole network over the workload's T, from a fresh memory.

    Uncompiled it goes step by step; compiled, all steps are one operation. The output layer, at
    all steps at once, is part of it.
    """
    model, inputs = workload.model(memory_size), workload.inputs()

    def prepare(calls: int) -> Run:
        model.zero_grad(set_to_none=True)
        return lambda: model(inputs[:calls])[0]

    name = f"sam, {workload.steps} steps"
    forms = forms_of(prepare, compiled=prepare)
    return Op("network", name, memory_size, workload.steps, forms)
