"""Steps of the standard cell, an LSTM controller of one layer and a SAM memory, compiled.

A step is one operation of autograd; a whole sequence is one with other controllers and an SDNC
memory as well. Here a cell's parts and state become its arguments; `sam.fast.dispatch` decides
where it is used.
"""

from operator import is_
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from index.compiled import wanted
from sam.cell import CellState, MemoryCell
from sam.controller import LSTMController, LSTMState
from sam.customized import is_customized
from sam.fast.cell_step import step_cell
from sam.fast.array_views import searches_in_loops
from sam.fast.cell_tensors import Parameters, RecurrentState, data_addresses
from sam.fast.controller_layers import Carried, Layers, layers_of
from sam.fast.linked_cell_step import linked_cell_step
from sam.fast.sequence_op import unroll
from sam.fast.step_request import request_for
from sam.interface import Interface
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.memory.sdnc import SDNCMemory, SDNCState
from sam.store.companions import join


def is_standard(cell: MemoryCell, inputs: Tensor) -> bool:
    """Whether controller and interface are the usual ones, for inputs [..., I], and nobody listens.

    The memory and the state are looked at on their own.
    """
    controller: Any = cell.controller
    return (
        has_usual_parts(cell)
        and inputs.shape[-1] == cell.input_size
        and controller.cell.bias_ih is not None
        and cell.interface.linear.bias is not None
    )


def has_usual_parts(cell: MemoryCell) -> bool:
    """Whether no part is another one or has a hook, and torch does nothing of its own."""
    controller: Any = cell._modules["controller"]  # by name it takes longer, and each step asks
    return (
        not is_customized(controller, LSTMController)
        and not is_customized(controller._modules["cell"], nn.LSTMCell)
        and _has_usual_interface(cell)
    )


def _has_usual_interface(cell: MemoryCell) -> bool:
    """The same but for the controller."""
    interface: Any = cell._modules["interface"]
    return (
        not is_customized(interface, Interface)
        and not is_customized(interface._modules["linear"], nn.Linear)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def sequence_layers(cell: MemoryCell, inputs: Tensor) -> Layers | None:
    """The layers of the controller, if a sequence of inputs [..., I] can be one operation.

    The memory and the state are looked at on their own.
    """
    if (
        not _has_usual_interface(cell)
        or inputs.shape[-1] != cell.input_size
        or cell.interface.linear.bias is None
    ):
        return None
    return layers_of(cell.controller)


def begins_empty(cell: MemoryCell, state: CellState) -> bool:
    """Whether a row that begins anew has an empty memory and zeros in the controller.

    Of a cell that `sequence_layers` found layers of. Over a base it has the words of that.
    """
    controller: Any = cell.controller
    parts = [controller, *getattr(controller, "layers", ())]
    own: Any = state.memory
    return own.order.base is None and not any("initial_state" in vars(part) for part in parts)


def run_sequence(
    cell: MemoryCell,
    layers: Layers,
    inputs: Tensor,
    state: CellState,
    lengths: Tensor | None,
    starts: Tensor | None,
) -> tuple[Tensor, Tensor, CellState]:
    """All steps of a cell in one operation.

    Args:
        cell: of which the parameters are used.
        layers: what `sequence_layers` found.
        inputs: x, [T, B, I].
        state: before the first step, checked; it is consumed.
        lengths: steps of each batch row, int64 [B] on the CPU, or None for T.
        starts: rows that begin a new episode before a step, bool [T, B], or None for none; copied.

    Returns:
        h, [T, B, C], and r, [T, B, H W], of all steps, and the state after them.
    """
    memory: Any = cell.memory
    before = state.memory
    if starts is not None:  # a copy: the backward pass needs them as they are now
        starts = starts.clone(memory_format=torch.contiguous_format) if starts.any() else None
    request = request_for(memory, before, lengths=lengths, starts=starts)
    linear: Any = cell.interface.linear
    parameters = *layers.parameters_of(cell.controller), linear.weight, linear.bias
    values = before.read_weights.values
    carried = Carried(layers.carried_of(state.controller), state.reads, values)
    result = unroll(request, layers, inputs, carried, parameters)
    after = before._replace(
        words=result.store, read_weights=result.read, write_weights=result.write
    )
    join(after, memory)
    controller = layers.state_of(result.last.controller, cell.controller)
    return result.hidden, result.reads, CellState(controller, after, result.last.reads)


class StepCacheKey(NamedTuple):
    """What a step was of. The store's handle keeps it with a `StepCache`, so that the next step
    need not look at all again."""

    cell: Any  # whose step it was, with these settings and parameters
    settings: SAMMemory | SDNCMemory
    parameters: Parameters
    shape: torch.Size  # of the inputs
    dtype: torch.dtype
    wanted: bool | None  # see `index.compiled.use_compiled`


class StepCache(NamedTuple):
    """What a step found out that the next one needs as well."""

    carried: RecurrentState
    parts: tuple[Any, ...]  # of the memory's state, but for the store, which keeps this
    addresses: tuple[int, ...]  # of the tensors that were made
    left: Any  # for `step_cell` or `linked_cell_step`


def run_step(
    cell: MemoryCell, inputs: Tensor, state: CellState, key: StepCacheKey | None
) -> tuple[Tensor, CellState]:
    """One step of a standard cell: h, [B, C], and the next state.

    Args:
        cell: of which the parameters are used.
        inputs: x, [B, I].
        state: before the step, checked; it is consumed.
        key: what `cached` found.
    """
    settings, before = _memory(cell), state.memory
    request = request_for(settings, before)
    if key is None:
        kind = inputs.shape, inputs.dtype, wanted()
        key = StepCacheKey(cell, settings, _parameters(cell), *kind)
        recurrent, left = _recurrent(state), None
    else:
        cache = before.words.step_cache[1]
        recurrent, left = cache.carried, cache.left
    take = step_cell if request.links is None else linked_cell_step
    last, read, write, words, left = take(request, inputs, recurrent, key.parameters, left)
    if request.links is None:
        after: Any = SAMState(words, read, write, before.order, before.index)
    else:
        after = SDNCState(words, read, write, before.order, before.index, request.links)
    join(after, settings)
    words.step_cache = key, StepCache(last, after[1:], data_addresses(last, read.slots), left)
    controller = LSTMState(last.hidden, last.cell)
    return last.hidden, CellState(controller, after, last.reads)


def cached(cell: MemoryCell, state: CellState, inputs: Tensor) -> StepCacheKey | None:
    """What the last step left, if all checks would find all as it was then.

    Without it they would take longer than all else that a step asks of Python.
    """
    memory: Any = getattr(state, "memory", None)
    left = getattr(getattr(memory, "words", None), "step_cache", None)
    if left is None:
        return None
    key, (carried, parts, addresses, _) = left
    if key.cell is not cell or key.settings is not cell.memory:
        return None
    controller = state.controller
    if not (
        type(memory) is key.settings.State
        and all(map(is_, memory[1:], parts))
        and type(controller) is LSTMState
        and controller.hidden is carried.hidden
        and controller.cell is carried.cell
        and state.reads is carried.reads
        and data_addresses(carried, memory.read_weights.slots) == addresses
        and (together := memory.words.companions) is not None
        and together.is_intact
        and getattr(inputs, "shape", None) == key.shape
        and inputs.dtype == key.dtype
        and inputs.is_cpu
        and wanted() is key.wanted
        and has_usual_parts(cell)
        and (type(memory) is SAMState or searches_in_loops(memory.order, memory.index))
    ):
        return None
    return key if all(map(is_, _parameters(cell), key.parameters)) else None


def steps_in_loops(state: SDNCState) -> bool:
    """Whether an SDNC's memory can take a step in loops, with the controller and the interface."""
    return state.order.base is None and searches_in_loops(state.order, state.index)


def _memory(cell: MemoryCell) -> SAMMemory:
    memory: Any = cell.memory
    return memory


def _recurrent(state: CellState) -> RecurrentState:
    """What of a state gets gradients."""
    values = state.memory.read_weights.values
    return RecurrentState(state.controller.hidden, state.controller.cell, state.reads, values)


def _parameters(cell: MemoryCell) -> Parameters:
    parts: dict[str, Any] = cell._modules
    lstm = parts["controller"]._modules["cell"]._parameters
    linear = parts["interface"]._modules["linear"]._parameters
    recurrent = lstm["weight_ih"], lstm["weight_hh"], lstm["bias_ih"], lstm["bias_hh"]
    return Parameters(*recurrent, linear["weight"], linear["bias"])
