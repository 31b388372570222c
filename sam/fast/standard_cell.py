"""Steps of the standard cell, an LSTM controller of one layer and a sparse memory, compiled.

A step is one operation of autograd; a whole sequence is one with other controllers as well. Here a
cell's parts and state become its arguments; `sam.fast.dispatch` decides where it is used.
"""

from operator import is_
from typing import Any

import torch
from torch import Tensor, nn

from index.compiled import wanted
from sam.cell import CellState, MemoryCell
from sam.controller import LSTMController, LSTMState
from sam.customized import is_customized
from sam.fast.array_views import searches_in_loops
from sam.fast.cell_step import step_cell
from sam.fast.cell_tensors import Parameters, RecurrentState, data_addresses
from sam.fast.controller_layers import Carried, Layers, layers_of
from sam.fast.linked_cell_step import linked_cell_step
from sam.fast.sequence_op import unroll
from sam.fast.step_request import StepRequest, request_for
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


class StepCache:
    """What a step found out that the next one needs as well.

    The store's handle keeps it, so that the next step need not look at all again. One and the same
    goes from step to step.
    """

    __slots__ = (
        *("addresses", "carried", "cell", "dtype", "left", "parameters", "parts", "rest"),
        *("settings", "shape", "wanted"),
    )

    def __init__(self, cell: MemoryCell, inputs: Tensor, request: StepRequest) -> None:
        self.cell: Any = cell  # whose step it was, with these settings and parameters
        self.settings = _memory(cell)
        self.parameters = _parameters(cell)
        self.shape, self.dtype = inputs.shape, inputs.dtype
        self.wanted = wanted()  # see `index.compiled.use_compiled`
        self.rest = request[5:]  # of each request
        self.left: Any = None  # for `step_cell` or `linked_cell_step`
        self.carried: RecurrentState | None = None  # from this step to the next
        self.parts: tuple[Any, ...] = ()  # of the memory's state, but for the store
        self.addresses: tuple[int, ...] = ()  # of the tensors that were made


def run_step(
    cell: MemoryCell, inputs: Tensor, state: CellState, cache: StepCache | None
) -> tuple[Tensor, CellState]:
    """One step of a standard cell: h, [B, C], and the next state.

    Args:
        cell: of which the parameters are used.
        inputs: x, [B, I].
        state: before the step, checked; it is consumed.
        cache: what `cached` found.
    """
    memory = state.memory
    if cache is None or cache.carried is None:
        request, recurrent = request_for(_memory(cell), memory), _recurrent(state)
        cache = StepCache(cell, inputs, request)
    else:
        words, read, write, order, index, *_ = memory
        request = StepRequest(words, order, index, read.slots, write, *cache.rest)
        recurrent = cache.carried
    links, settings = request.links, cache.settings
    take = step_cell if links is None else linked_cell_step
    last, read, write, words, cache.left = take(
        request, inputs, recurrent, cache.parameters, cache.left
    )
    after: Any
    if links is None:
        after = SAMState(words, read, write, request.order, request.word_index)
    else:
        after = SDNCState(words, read, write, request.order, request.word_index, links)
    join(after, settings)
    cache.carried, cache.parts = last, after[1:]
    cache.addresses = data_addresses(last, read.slots)
    memory.words.step_cache, words.step_cache = None, cache  # or an old state would keep this one
    return last.hidden, CellState(LSTMState(last.hidden, last.cell), after, last.reads)


def cached(cell: MemoryCell, state: CellState, inputs: Tensor) -> StepCache | None:
    """What the last step left, if all checks would find all as it was then.

    Without it they would take longer than all else that a step asks of Python.
    """
    memory, controller = state.memory, state.controller
    cache = memory.words.step_cache
    if cache.cell is not cell or cache.settings is not cell.memory:
        return None
    hidden, before, reads, _ = carried = cache.carried
    if not (
        type(memory) is cache.settings.State
        and all(map(is_, memory[1:], cache.parts))
        and type(controller) is LSTMState
        and controller[0] is hidden
        and controller[1] is before
        and state.reads is reads
        and data_addresses(carried, memory[1][0]) == cache.addresses
        and (together := memory.words.companions) is not None
        and together.is_intact
        and getattr(inputs, "shape", None) == cache.shape
        and inputs.dtype == cache.dtype
        and inputs.is_cpu
        and wanted() is cache.wanted
        and has_usual_parts(cell)
        and (type(memory) is SAMState or searches_in_loops(memory.order, memory.index))
    ):
        return None
    return cache if all(map(is_, _parameters(cell), cache.parameters)) else None


def steps_in_loops(state: SDNCState) -> bool:
    """Whether an SDNC's memory can take a step in loops, with the controller and the interface."""
    has_rows = state.words.batch_size > 0
    return has_rows and state.order.base is None and searches_in_loops(state.order, state.index)


def _memory(cell: MemoryCell) -> SAMMemory | SDNCMemory:
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
