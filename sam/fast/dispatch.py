"""The standard cell, an LSTM controller of one layer and a SAM memory, by compiled twins.

A step of it, or a whole sequence, is one operation. The network and the cell go the plain way
wherever something of its own is in the way, such as a custom part, a hook, or a trace; the results
are the same to rounding.
"""

import functools
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from index.audit import is_audited
from index.compiled import is_compiled, wanted
from sam.controller import LSTMController, LSTMState
from sam.customized import is_customized
from sam.fast.cell_tensors import Parameters, RecurrentState, data_addresses
from sam.interface import Interface
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.memory.together import join

if TYPE_CHECKING:
    from sam.cell import CellState, MemoryCell

# From so many steps on it pays to lay out the weights anew for a sequence.
LEAST_STEPS = 4


def is_standard(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> bool:
    """Whether the compiled twins can take the place of a cell's parts, and are wanted."""
    memory: Any = cell.memory
    if type(memory) is not SAMMemory or type(state.memory) is not SAMState:
        return False
    return (
        is_compiled(memory.compiled, inputs.device, inputs.dtype)
        and memory.in_one_op
        and inputs.dtype == state.reads.dtype
        and _is_unchanged(cell)
        and _fits(cell, inputs)
    )


def _is_unchanged(cell: "MemoryCell") -> bool:
    """Whether the parts are the usual ones, no hook listens, and torch does nothing of its own."""
    parts: dict[str, Any] = cell._modules  # by name it takes longer, and each step asks
    controller, interface = parts["controller"], parts["interface"]
    return (
        not is_customized(controller, LSTMController)
        and not is_customized(controller._modules["cell"], nn.LSTMCell)
        and not is_customized(interface, Interface)
        and not is_customized(interface._modules["linear"], nn.Linear)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def _fits(cell: "MemoryCell", inputs: Tensor) -> bool:
    """Whether inputs and parameters are as compiled loops take for granted; the state is checked
    on its own."""
    controller: Any = cell.controller
    return (
        inputs.shape[-1] == cell.input_size
        and controller.cell.bias_ih is not None
        and cell.interface.linear.bias is not None
    )


def takes_sequences(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> bool:
    """Whether `run_sequence` can take the place of stepping through inputs [T, B, I].

    Raises:
        ShapeError, StaleStateError: the memory's part of the state is none to begin with.
    """
    if len(inputs) < LEAST_STEPS or not is_standard(cell, state, inputs) or is_audited():
        return False
    memory = _memory(cell)
    memory.check_state(state.memory, state.reads)
    return memory.has_shapes(state.memory)


def run_sequence(
    cell: "MemoryCell", inputs: Tensor, state: "CellState", lengths: Tensor | None
) -> tuple[Tensor, Tensor, "CellState"]:
    """Steps of a standard cell, all in one operation.

    Args:
        cell: of which the parameters are used.
        inputs: x, [T, B, I].
        state: before the first step, checked by `takes_sequences`; it is consumed.
        lengths: steps of each batch row, int64 [B] on the CPU, or None for T.

    Returns:
        h, [T, B, C], and r, [T, B, H W], of all steps, and the state after them.
    """
    from sam.fast.sequence_op import SequenceRequest, unroll

    memory, before = _memory(cell), state.memory
    given = SequenceRequest(
        store=before.words,
        order=before.order,
        index=before.index,
        slots=before.read_weights.slots,
        write=before.write_weights,
        lengths=lengths,
        threshold=memory.access_threshold,
        least=memory.least_strength,
    )
    result = unroll(given, inputs, _carried(state), _parameters(cell))
    after = SAMState(result.store, result.read, result.write, before.order, before.index)
    join(after, memory)
    controller = LSTMState(result.last.hidden, result.last.cell)
    return result.hidden, result.reads, type(state)(controller, after, result.last.reads)


class StepCacheKey(NamedTuple):
    """What a step leaves in the memory's handle: the next one need not look at all of it again."""

    cell: Any  # whose step it was, with these settings and parameters
    settings: SAMMemory
    parameters: Parameters
    shape: torch.Size  # of the inputs
    dtype: torch.dtype
    wanted: bool | None  # see `index.compiled.use_compiled`
    left: Any  # `sam.fast.cell_step.StepCache`


def take_step(
    cell: "MemoryCell", inputs: Tensor, state: "CellState", following: StepCacheKey | None
) -> tuple[Tensor, "CellState"] | None:
    """One step of a standard cell, if it is one: h, [B, C], and the next state.

    Args:
        cell: of which the parameters are used.
        inputs: x, [B, I].
        state: before the step; it is consumed.
        following: what `follows` says; without it the state's controller and reads are checked.
    """
    settings, before = _memory(cell), state.memory
    if following is None:
        if not is_standard(cell, state, inputs):
            return None
        settings.check_state(before, state.reads)
        if not settings.has_shapes(before):
            return None
    stepping, step_cell = _step_twins()
    given = stepping(
        store=before.words,
        order=before.order,
        index=before.index,
        slots=before.read_weights.slots,
        write=before.write_weights,
        active=None,
        threshold=settings.access_threshold,
        least=settings.least_strength,
    )
    parameters = _parameters(cell) if following is None else following.parameters
    left = None if following is None else following.left
    last, read, write, words, left = step_cell(given, inputs, _carried(state), parameters, left)
    if left is not None:
        words.left = (
            StepCacheKey(cell, settings, parameters, inputs.shape, inputs.dtype, wanted(), left)
            if following is None
            else following._replace(left=left)
        )
    after = join(SAMState(words, read, write, before.order, before.index), settings)
    controller = LSTMState(last.hidden, last.cell)
    return last.hidden, type(state)(controller, after, last.reads)


def follows(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> StepCacheKey | None:
    """What the last step left, if all checks would find all as it was then.

    That takes longer than all else which a step asks of Python.
    """
    memory: Any = state.memory
    found: StepCacheKey | None = (
        getattr(memory.words, "left", None) if type(memory) is SAMState else None
    )
    if found is None or found.cell is not cell or found.settings is not cell.memory:
        return None
    left, controller = found.left, state.controller
    if not (
        controller.hidden is left.carried.hidden
        and controller.cell is left.carried.cell
        and state.reads is left.carried.reads
        and memory.read_weights is left.read
        and memory.write_weights is left.write
        and memory.order is left.order
        and memory.index is left.index
        and data_addresses(left.carried, left.read.slots) == left.places
        and (known := memory.words.companions) is not None
        and known.is_intact
        and inputs.shape == found.shape
        and inputs.dtype == found.dtype
        and inputs.is_cpu
        and wanted() is found.wanted
        and _is_unchanged(cell)
    ):
        return None
    return found if all(map(is_, _parameters(cell), found.parameters)) else None


@functools.cache
def _step_twins() -> tuple[Any, Any]:
    """What `take_step` needs, imported once: an import statement takes time at every step."""
    from sam.fast.cell_step import step_cell
    from sam.fast.step_request import StepRequest

    return StepRequest, step_cell


def _memory(cell: "MemoryCell") -> SAMMemory:
    memory: Any = cell.memory
    return memory


def _carried(state: "CellState") -> RecurrentState:
    """What of a state gets gradients."""
    values = state.memory.read_weights.values
    return RecurrentState(state.controller.hidden, state.controller.cell, state.reads, values)


def _parameters(cell: "MemoryCell") -> Parameters:
    parts: dict[str, Any] = cell._modules
    lstm = parts["controller"]._modules["cell"]._parameters
    linear = parts["interface"]._modules["linear"]._parameters
    recurrent = lstm["weight_ih"], lstm["weight_hh"], lstm["bias_ih"], lstm["bias_hh"]
    return Parameters(*recurrent, linear["weight"], linear["bias"])
