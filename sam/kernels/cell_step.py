"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled twin of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
the products that an `nn.LSTMCell` and a linear layer would, without a node of the graph for each.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from index.compiled import jit
from sam.kernels.cell import Cell, CellBack, begin_cell, cell_backward
from sam.kernels.ledger import Entry, Ledger, hang_on
from sam.kernels.lent import as_arrays, own
from sam.kernels.lstm import lstm
from sam.kernels.memory_step import MemoryStep, Stepping, backward_buffers
from sam.kernels.parts import Carried, Parameters
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.ops.store import WordStore
from sam.ops.tape import Tape, claim, close_node, open_node


@jit
def _lstm_rows(gates: Any, before: Any, cell: Any, hidden: Any) -> None:
    """`lstm` for each batch row."""
    for b in range(len(gates)):
        lstm(gates[b], before[b], cell[b], hidden[b])


def step_cell(
    given: Stepping, inputs: Tensor, before: Carried, parameters: Parameters
) -> tuple[Carried, SparseWeights, SparseWeights, WordStore]:
    """One step of the cell.

    Args:
        given: the memory and settings, all rows active; the store's handle is consumed.
        inputs: x, [B, I].
        before: the state before the step.
        parameters: of controller and interface.

    Returns:
        The state after it, w^R, w^W and the store's next handle.

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        StaleStateError: the store was consumed before.

    Cost: as `nn.LSTMCell` and `step_memory`, of which it keeps what they keep; the backward pass
    can be taken once.
    """
    given.store.check()
    run = MemoryStep(given)
    tensors = inputs, *before
    tape, token = given.store.graph(*tensors, *parameters)
    if tape is None or token is None:
        with torch.no_grad():
            after = _forward(run, inputs, before, parameters)
    else:
        token, ledger = hang_on(token, tape, parameters)
        *after, token = _StepCell.apply(token, tape, run, ledger, *tensors)  # type: ignore[misc]
    carried = Carried(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    return carried, read, written, given.store.advance(tape, token)


def _forward(
    run: MemoryStep, inputs: Tensor, before: Carried, parameters: Parameters
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h, c, r, w^R without a graph, from the parameters as they are."""
    both = torch.cat([inputs, before.reads], 1)
    gates = torch.addmm(parameters.bias_ih, both, parameters.weight_ih.t())
    gates.addmm_(before.hidden, parameters.weight_hh.t()).add_(parameters.bias_hh)
    hidden = gates.new_empty(before.hidden.shape)
    cell = torch.empty_like(hidden)
    _lstm_rows(gates.numpy(), before.cell.contiguous().numpy(), cell.numpy(), hidden.numpy())
    controls = torch.addmm(parameters.bias, hidden, parameters.weight.t())
    return hidden, cell, *run.forward(controls, before.values)


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        tape: Tape,
        run: MemoryStep,
        ledger: Ledger,
        inputs: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        before, weights = Carried(*tensors), ledger.weights
        batch_size = len(inputs)
        every = inputs.new_empty(batch_size, len(weights.all))
        gates = inputs.new_empty(batch_size, len(weights.bias))
        controls = inputs.new_empty(batch_size, len(weights.interface_bias))
        hidden, cell = inputs.new_empty(before.hidden.shape), inputs.new_empty(before.cell.shape)
        reads, values, step = run.buffers(controls, before.values)
        first = inputs, before.reads, before.hidden, before.cell
        first = [tensor.contiguous() for tensor in first]
        arrays = Cell(*as_arrays(*first, every, gates, cell, hidden))
        run.take(step, controls, begin_cell, arrays, weights)
        ctx.least, ctx.sizes, ctx.ledger = run.given.least, run.sizes, ledger
        kept = controls, before.values, values, run.floats, None
        open_node(ctx, tape, (run.rows,), *kept, every, gates, first[3], cell, hidden)
        return hidden, cell, reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        rows, *kept = ctx.saved_tensors
        controls, (every, gates, before_cell, cell, hidden) = kept[0], kept[5:]
        of_hidden, of_cell, of_reads, of_values, token = grads
        of_values, step, back = backward_buffers(ctx, rows, tuple(kept[:5]), of_reads, of_values)
        below, of_cell = own(of_hidden, hidden), own(of_cell, cell)
        of_all = torch.empty_like(every)
        arrays = CellBack(
            *as_arrays(before_cell, cell, gates, below, of_cell, of_all), *ctx.ledger.back
        )
        cell_backward(arrays, step, back, ctx.least, EPS)
        close_node(ctx)
        ctx.ledger.entries.append(Entry(gates, every, controls, hidden))
        width, units = ctx.sizes.heads * ctx.sizes.word, hidden.shape[1]
        of_inputs, *before = of_all.split([every.shape[1] - width - units, width, units], 1)
        of_inputs = of_inputs if ctx.needs_input_grad[4] else None
        return (token, None, None, None, of_inputs, before[1], of_cell, before[0], of_values)
