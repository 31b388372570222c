"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled twin of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
the products that an `nn.LSTMCell` and a linear layer would, without a node of the graph for each.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from index.compiled import jit
from sam.kernels.ledger import Entry, Ledger, hang_on
from sam.kernels.lstm import lstm, lstm_backward
from sam.kernels.memory_step import MemoryStep, Stepping, step_back
from sam.kernels.parts import Carried, Parameters
from sam.ops.sparse import SparseWeights
from sam.ops.store import WordStore
from sam.ops.tape import Tape, claim, close_node, open_node


@jit
def _lstm_rows(gates: Any, before: Any, cell: Any, hidden: Any) -> None:
    """`lstm` for each batch row."""
    for b in range(len(gates)):
        lstm(gates[b], before[b], cell[b], hidden[b])


@jit
def _lstm_rows_backward(gates: Any, before: Any, cell: Any, grad_hidden: Any, grad: Any) -> None:
    """`lstm_backward` for each batch row."""
    for b in range(len(gates)):
        lstm_backward(gates[b], before[b], cell[b], grad_hidden[b], grad[b])


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
            *after, _, _, _ = _forward(run, inputs, before, parameters)
    else:
        token, ledger = hang_on(token, tape, parameters)
        *after, token = _StepCell.apply(token, tape, run, ledger, parameters, *tensors)  # type: ignore[misc]
    carried = Carried(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    return carried, read, written, given.store.advance(tape, token)


def _forward(
    run: MemoryStep, inputs: Tensor, before: Carried, parameters: Parameters
) -> tuple[Tensor, ...]:
    """h, c, r, w^R; and what the way back needs of the controller."""
    both = torch.cat([inputs, before.reads], 1)
    gates = torch.addmm(parameters.bias_ih, both, parameters.weight_ih.t())
    gates.addmm_(before.hidden, parameters.weight_hh.t()).add_(parameters.bias_hh)
    hidden = gates.new_empty(before.hidden.shape)
    cell = torch.empty_like(hidden)
    _lstm_rows(
        gates.numpy(), before.cell.detach().contiguous().numpy(), cell.numpy(), hidden.numpy()
    )
    controls = torch.addmm(parameters.bias, hidden, parameters.weight.t())
    reads, values = run.forward(controls, before.values)
    return hidden, cell, reads, values, both, gates, controls


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        tape: Tape,
        run: MemoryStep,
        ledger: Ledger,
        parameters: Parameters,
        inputs: Tensor,
        *tensors: Tensor,
    ) -> tuple[Tensor, ...]:
        before = Carried(*tensors)
        *after, both, gates, controls = _forward(run, inputs, before, parameters)
        hidden, cell, _, values = after
        ctx.least, ctx.sizes, ctx.ledger = run.given.least, run.sizes, ledger
        weights = parameters.weight_ih, parameters.weight_hh, parameters.weight
        kept = controls, before.values, values, run.floats, None
        others = both, gates, before.hidden, before.cell, hidden, cell, *weights
        open_node(ctx, tape, (run.rows,), *kept, *others)
        return (*after, token.new_empty(()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        rows, *kept = ctx.saved_tensors
        both, gates, before, before_cell, hidden, cell, *weights = kept[5:]
        weight_ih, weight_hh, weight = weights
        of_hidden, of_cell, of_reads, of_values, token = grads
        of_values = step_back(ctx, rows, tuple(kept[:5]), of_reads, of_values)
        close_node(ctx)
        controls = kept[0]
        if of_hidden is None:
            below = torch.mm(controls, weight)
        else:
            below = torch.addmm(of_hidden, controls, weight)
        of_cell = torch.zeros_like(cell) if of_cell is None else of_cell.clone()
        _lstm_rows_backward(
            gates.numpy(),
            before_cell.detach().contiguous().numpy(),
            cell.detach().numpy(),
            below.numpy(),
            of_cell.numpy(),
        )
        ctx.ledger.entries.append(Entry(gates, both, before, controls, hidden))
        of_both = torch.mm(gates, weight_ih)
        inputs = both.shape[1] - ctx.sizes.heads * ctx.sizes.word
        of_inputs = of_both[:, :inputs] if ctx.needs_input_grad[5] else None
        of_before = torch.mm(gates, weight_hh), of_cell, of_both[:, inputs:], of_values
        return (token, *[None] * 4, of_inputs, *of_before)
