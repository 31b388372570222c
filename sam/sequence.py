"""Whole sequences at once, where a compiled form of the loop over time exists.

There is one for the standard cell: an LSTM controller of one layer and a SAM memory. The network
steps through the sequence wherever something of its own is in the way, such as a custom part, a
hook, or a trace; the results are the same to rounding.
"""

from typing import Any

import torch
from torch import Tensor, nn

from index.audit import is_audited
from index.compiled import is_compiled
from sam.changed import is_changed
from sam.cell import CellState, MemoryCell
from sam.controller import LSTMController, LSTMState
from sam.interface import Interface
from sam.memory.sam import SAMMemory, SAMState

# From so many steps on it pays to lay out the weights anew.
LEAST_STEPS = 4


def takes_sequences(cell: MemoryCell, state: CellState, inputs: Tensor) -> bool:
    """Whether `run_sequence` can take the place of stepping through these inputs."""
    memory = cell.memory
    return (
        len(inputs) >= LEAST_STEPS
        and type(memory) is SAMMemory
        and type(state.memory) is SAMState
        and type(cell.controller) is LSTMController
        and memory.in_one_op
        and is_compiled(memory.compiled, inputs.device, inputs.dtype)
        and not is_audited()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
        and not any(is_changed(part, kind) for part, kind in _parts(cell))
    )


def _parts(cell: MemoryCell) -> list[tuple[nn.Module, type[nn.Module]]]:
    """What a cell is made of, and of what class it has to be."""
    controller: Any = cell.controller
    return [
        (cell, MemoryCell),
        (controller, LSTMController),
        (controller.cell, nn.LSTMCell),
        (cell.interface, Interface),
        (cell.interface.linear, nn.Linear),
    ]


def run_sequence(
    cell: MemoryCell, inputs: Tensor, state: CellState, lengths: Tensor | None
) -> tuple[Tensor, Tensor, CellState]:
    """Steps of the cell, all in one operation; for what `takes_sequences` agrees to.

    Args:
        cell: of which the parameters are used.
        inputs: x, [T, B, I].
        state: before the first step; it is consumed.
        lengths: steps of each batch row, int64 [B] on the CPU, or None for T.

    Returns:
        h, [T, B, C], and r, [T, B, H W], of all steps, and the state after them.
    """
    from sam.kernels.unroll import Carried, Parameters, Unrolling, unroll

    memory: Any = cell.memory
    lstm: Any = cell.controller.cell
    linear, before = cell.interface.linear, state.memory
    result = unroll(
        Unrolling(
            store=before.words,
            order=before.order,
            index=before.index,
            slots=before.read_weights.slots,
            write=before.write_weights,
            lengths=lengths,
            threshold=memory.access_threshold,
            least=1.0 if memory.strength == "oneplus" else 0.0,
        ),
        inputs,
        Carried(
            state.controller.hidden, state.controller.cell, state.reads, before.read_weights.values
        ),
        Parameters(
            *(lstm.weight_ih, lstm.weight_hh, lstm.bias_ih, lstm.bias_hh),
            *(linear.weight, linear.bias),
        ),
    )
    after = SAMState(result.store, result.read, result.write, before.order, before.index)
    controller = LSTMState(result.last.hidden, result.last.cell)
    return result.hidden, result.reads, CellState(controller, after, result.last.reads)
