"""Which form of a cell's steps runs: the one place that decides it, once a call.

    form                                        for which cells
    a whole sequence as one operation           LSTM, GRU or feed-forward controller, or a stack of
                                                like ones, SAM or SDNC memory; compiled
    a step as one operation                     LSTM controller, SAM or SDNC memory; compiled
    the memory's step as one operation          any controller, SAM or SDNC memory; compiled
    the memory's step fused, in torch           any controller, SAM memory
    `MemoryCell.forward`                        every cell

Compiled forms need numba and tensors on the CPU; `index.compiled` says when they are wanted. Where
a form does not cover an option, a subclass, a hook or autocast, the next one that does is taken.
All give the same results to rounding, and each goes on from the state of any other.
"""

import functools
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from index.audit import is_audited
from index.compiled import is_compiled
from sam.cell import CellState, MemoryCell, in_memory_width, next_state
from sam.controller import LSTMController
from sam.customized import is_customized
from sam.fast.fused_access import fused_step, has_current_shapes, is_fusible
from sam.interface import Interface
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.memory.sdnc import SDNCMemory, SDNCState

# From so many steps on it pays to lay out the weights anew for a sequence, by memory and whether
# the controller is one LSTM layer. With that SAM's steps are one operation each, and leave the
# products of wide layers to torch: of fewer batch rows it then takes this share of the units, or so
# many steps if these are fewer.
_SHARE_OF_UNITS, _MOST_LEAST, _FEW_ROWS = 1 / 32, 10, 8
LEAST_STEPS: dict[tuple[type, bool], float] = {
    (SAMMemory, True): 4,
    (SAMMemory, False): 3,
    (SDNCMemory, True): 2,
    (SDNCMemory, False): 2,
}


def take_sequence(
    cell: MemoryCell,
    inputs: Tensor,
    state: CellState,
    lengths: Tensor | None = None,
    starts: Tensor | None = None,
) -> tuple[Tensor, Tensor, CellState] | None:
    """All steps of a cell in one operation, where there is such a form; else None.

    Args:
        cell: whose steps.
        inputs: x, [T, B, I].
        state: before the first step, checked but for the memory's part; it is consumed.
        lengths: steps of each batch row, int64 [B] on the CPU, or None for T.
        starts: rows that begin a new episode before a step, bool [T, B], or None for none; only of
            steps that a row takes. Over a base there is no such form: a row has the base again.

    Returns:
        h, [T, B, C], and r, [T, B, H W], of all steps, and the state after them.

    Raises:
        ShapeError, StaleStateError: the memory's part of the state is none to begin with.
    """
    memory: Any = cell.memory
    if (
        len(inputs) < _least_steps(cell, inputs.shape[1], lengths)
        or is_customized(cell, MemoryCell)
        or type(state.memory) not in (SAMState, SDNCState)
        or not is_compiled(memory.compiled, inputs.device, inputs.dtype)
        or (type(memory) is SAMMemory and not is_fusible(memory))
        or is_audited()
    ):
        return None
    standard = compiled_forms().standard_cell
    if inputs.dtype != state.reads.dtype:
        return None
    layers = standard.sequence_layers(cell, inputs)
    if layers is None:
        return None
    if starts is not None and not standard.begins_empty(cell, state):
        return None
    memory.check_state(state.memory, state.reads)
    if not has_current_shapes(memory, state.memory):
        return None
    return standard.run_sequence(cell, layers, inputs, state, lengths, starts)


def _least_steps(cell: MemoryCell, rows: int, lengths: Tensor | None) -> float:
    """The shortest sequence that pays as one operation."""
    kind, is_lstm = type(cell.memory), type(cell.controller) is LSTMController
    least = LEAST_STEPS.get((kind, is_lstm), math.inf)
    if kind is SAMMemory and is_lstm and lengths is None and rows < _FEW_ROWS:
        return max(least, min(_SHARE_OF_UNITS * cell.controller.output_size, _MOST_LEAST))
    return least


def take_step(
    cell: MemoryCell, inputs: Tensor, state: CellState, active: Tensor | None = None
) -> tuple[Tensor, CellState]:
    """One step of a cell in the fastest form there is; arguments, results and errors are its own.

    A network calls it for each of its steps; so can any other loop over a cell.
    """
    if is_customized(cell, MemoryCell):
        return cell(inputs, state, active)
    words = getattr(getattr(state, "memory", None), "words", None)
    if active is None and getattr(words, "step_cache", None) is not None:
        standard = compiled_forms().standard_cell
        cache = standard.cached(cell, state, inputs)
        if cache is not None:
            return standard.run_step(cell, inputs, state, cache)
    access = _fast_access(cell)
    if access is None or getattr(inputs, "ndim", 2) == 1 or not len(inputs):
        return cell(inputs, state, active)  # [I] is a batch of one; none is nothing to do
    cell.check_state(inputs, state, active)
    if access is not _fused_sam and active is None and inputs.dtype == state.reads.dtype:
        standard, memory = compiled_forms().standard_cell, cast(SAMMemory, cell.memory)
        if standard.is_standard(cell, inputs):
            memory.check_state(state.memory, state.reads)
            takes = access is _compiled_sam or standard.steps_in_loops(state.memory)
            if takes and has_current_shapes(memory, state.memory):
                return standard.run_step(cell, inputs, state, None)
    return _step_by_parts(cell, inputs, state, active, access)


FastAccess = Callable[[MemoryCell, Tensor, Any, Tensor | None], tuple[Tensor, Any]]
"""Another form of `MemoryCell.access`."""


def _fast_access(cell: MemoryCell) -> FastAccess | None:
    """The form of a cell's interface and memory that is to be used; None for the cell's own."""
    memory: Any = cell.memory
    if type(memory) not in (SAMMemory, SDNCMemory):
        return None
    like = cell.interface.linear.weight
    compiled = is_compiled(memory.compiled, like.device, like.dtype)
    if type(memory) is SDNCMemory:
        return _compiled_sdnc if compiled else None
    if not is_fusible(memory):
        return None
    return _compiled_sam if compiled else _fused_sam


def _step_by_parts(
    cell: MemoryCell,
    inputs: Tensor,
    state: CellState,
    active: Tensor | None,
    access: FastAccess,
) -> tuple[Tensor, CellState]:
    """`MemoryCell.forward` from its checks on, with another form of `MemoryCell.access`."""
    joined = torch.cat([inputs, state.reads], 1)
    hidden, controller = cell.controller(joined, state.controller)
    words, memory = in_memory_width(partial(access, cell), hidden, state, active)
    return hidden, next_state(state, controller, memory, words, active)


def _fused_sam(
    cell: MemoryCell, hidden: Tensor, state: Any, active: Tensor | None
) -> tuple[Tensor, Any]:
    memory: Any = cell.memory
    return fused_step(memory, cell.interface(hidden), state, active)


def _compiled_sam(
    cell: MemoryCell, hidden: Tensor, state: Any, active: Tensor | None
) -> tuple[Tensor, Any]:
    interface = cell.interface
    if is_customized(interface, Interface) or is_customized(interface.linear, nn.Linear):
        return _fused_sam(cell, hidden, state, active)
    memory: Any = cell.memory
    values = interface.linear(hidden)
    memory.check_state(state, values)  # once the controller has run, which may be anybody's code
    if not has_current_shapes(memory, state):
        return fused_step(memory, interface.squashed(values), state, active)
    return compiled_forms().memory_step.compiled_step(memory, values, state, active)


def _compiled_sdnc(
    cell: MemoryCell, hidden: Tensor, state: Any, active: Tensor | None
) -> tuple[Tensor, Any]:
    memory: Any = cell.memory
    return compiled_forms().linked_step.linked_step(memory, cell.interface(hidden), state, active)


class CompiledForms(NamedTuple):
    """The modules of the compiled forms, which import numba."""

    standard_cell: Any
    memory_step: Any
    linked_step: Any


@functools.cache
def compiled_forms() -> CompiledForms:
    """Imports them when the first is wanted; an import statement takes time at every step."""
    from sam.fast import linked_step, memory_step, standard_cell

    return CompiledForms(standard_cell, memory_step, linked_step)
