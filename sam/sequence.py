"""The standard cell, an LSTM controller of one layer and a SAM memory, by compiled twins.

A step of it, or a whole sequence, is one operation. The network and the cell go the plain way
wherever something of its own is in the way, such as a custom part, a hook, or a trace; the results
are the same to rounding.
"""

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from index.audit import is_audited
from index.compiled import is_compiled
from sam.changed import is_changed
from sam.controller import LSTMController, LSTMState
from sam.interface import Interface
from sam.kernels.parts import Carried, Parameters
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState

if TYPE_CHECKING:
    from sam.cell import CellState, MemoryCell

# From so many steps on it pays to lay out the weights anew for a sequence.
LEAST_STEPS = 4


def is_standard(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> bool:
    """Whether the compiled twins can take the place of a cell's parts, and are wanted."""
    memory: Any = cell.memory
    if type(memory) is not SAMMemory or type(state.memory) is not SAMState:
        return False
    parts: dict[str, Any] = cell._modules  # by name it takes longer, and each step asks
    controller, interface = parts["controller"], parts["interface"]
    return (
        is_compiled(memory.compiled, inputs.device, inputs.dtype)
        and memory.in_one_op
        and inputs.dtype == state.reads.dtype
        and not is_changed(controller, LSTMController)
        and not is_changed(controller._modules["cell"], nn.LSTMCell)
        and not is_changed(interface, Interface)
        and not is_changed(interface._modules["linear"], nn.Linear)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and _fits(cell, state, inputs)
    )


def _fits(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> bool:
    """Whether all has the shapes that compiled loops take for granted; torch tells what has not."""
    memory, batch_size = state.memory, inputs.shape[-2]
    controller: Any = cell.controller
    settings: Any = cell.memory
    lstm, units = controller.cell, controller.output_size
    return (
        inputs.shape[-1] == cell.input_size
        and state.reads.shape == (batch_size, cell.read_size)
        and state.controller.hidden.shape == (batch_size, units)
        and state.controller.cell.shape == (batch_size, units)
        and settings.has_shapes(memory, batch_size)
        and memory.words.word_size == settings.word_size
        and memory.order.count == settings.num_writes
        and lstm.bias_ih is not None
        and cell.interface.linear.bias is not None
    )


def takes_sequences(cell: "MemoryCell", state: "CellState", inputs: Tensor) -> bool:
    """Whether `run_sequence` can take the place of stepping through inputs [T, B, I]."""
    return len(inputs) >= LEAST_STEPS and is_standard(cell, state, inputs) and not is_audited()


def run_sequence(
    cell: "MemoryCell", inputs: Tensor, state: "CellState", lengths: Tensor | None
) -> tuple[Tensor, Tensor, "CellState"]:
    """Steps of a standard cell, all in one operation.

    Args:
        cell: of which the parameters are used.
        inputs: x, [T, B, I].
        state: before the first step; it is consumed.
        lengths: steps of each batch row, int64 [B] on the CPU, or None for T.

    Returns:
        h, [T, B, C], and r, [T, B, H W], of all steps, and the state after them.
    """
    from sam.kernels.unroll import Unrolling, unroll

    memory, before = _memory(cell), state.memory
    given = Unrolling(
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
    controller = LSTMState(result.last.hidden, result.last.cell)
    return result.hidden, result.reads, type(state)(controller, after, result.last.reads)


def run_step(cell: "MemoryCell", inputs: Tensor, state: "CellState") -> tuple[Tensor, "CellState"]:
    """One step of a standard cell from x, [B, I]: h, [B, C], and the next state."""
    stepping, step_cell = _step_twins()
    memory, before = _memory(cell), state.memory
    given = stepping(
        store=before.words,
        order=before.order,
        index=before.index,
        slots=before.read_weights.slots,
        write=before.write_weights,
        active=None,
        threshold=memory.access_threshold,
        least=memory.least_strength,
    )
    last, read, write, words = step_cell(given, inputs, _carried(state), _parameters(cell))
    after = SAMState(words, read, write, before.order, before.index)
    controller = LSTMState(last.hidden, last.cell)
    return last.hidden, type(state)(controller, after, last.reads)


@functools.cache
def _step_twins() -> tuple[Any, Any]:
    """What `run_step` needs, imported once: an import statement takes time at every step."""
    from sam.kernels.cell_step import step_cell
    from sam.kernels.memory_step import Stepping

    return Stepping, step_cell


def _memory(cell: "MemoryCell") -> SAMMemory:
    memory: Any = cell.memory
    return memory


def _carried(state: "CellState") -> Carried:
    """What of a state gets gradients."""
    values = state.memory.read_weights.values
    return Carried(state.controller.hidden, state.controller.cell, state.reads, values)


def _parameters(cell: "MemoryCell") -> Parameters:
    controller: Any = cell.controller
    lstm, linear = controller.cell, cell.interface.linear
    recurrent = lstm.weight_ih, lstm.weight_hh, lstm.bias_ih, lstm.bias_hh
    return Parameters(*recurrent, linear.weight, linear.bias)
