"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled twin of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
the products that an `nn.LSTMCell` and a linear layer would, without a node of the graph for each.
"""

from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import VectorIndex
from index.compiled import jit
from sam.fast.array_views import as_arrays, writable_grad
from sam.fast.cell_tensors import Parameters, RecurrentState, data_addresses
from sam.fast.deferred_grads import DeferredGrads, Entry, attach_deferred_grads
from sam.fast.loops.cell_loops import (
    CellBack,
    StepInputs,
    StepOutputs,
    begin_cell,
    cell_backward,
    end_cell,
)
from sam.fast.loops.lstm_gates import lstm
from sam.fast.memory_step import MemoryStep
from sam.fast.step_request import StepRequest, begin_step_with, check_found_slots, query_index
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.access_order import AccessOrder
from sam.store.gradient_tape import Tape, check_single_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

_CONTIGUOUS = torch.contiguous_format


class StepCache(NamedTuple):
    """What a step leaves for the next one, which then need not find it out again."""

    carried: RecurrentState
    read: SparseWeights  # w^R
    write: SparseWeights  # w^W
    order: AccessOrder
    index: VectorIndex
    addresses: tuple[int, ...]  # of the tensors that `arrays` shows
    arrays: StepInputs  # of `carried`, and the slots of `read`
    sizes: "_Sizes"


class _Sizes(NamedTuple):
    """Of the arrays of a step."""

    controls: int  # columns of `StepOutputs.kept` before them
    kept: int  # all columns
    word: int  # W
    found: int  # B H K (1 + W)
    rows: int  # B (2 H K + V)
    accesses: int  # H K + V J


def step_cell(
    given: StepRequest,
    inputs: Tensor,
    before: RecurrentState,
    parameters: Parameters,
    cache: StepCache | None,
) -> tuple[RecurrentState, SparseWeights, SparseWeights, WordStore, StepCache | None]:
    """One step of the cell.

    Args:
        given: the memory and settings, all rows active; the store's handle is consumed.
        inputs: x, [B, I].
        before: the state before the step.
        parameters: of controller and interface.
        cache: by the step that this state comes from, if it is known.

    Returns:
        The state after it, w^R, w^W and the store's next handle; and what is cache for the next
        step, None without a graph.

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        StaleStateError: the store was consumed before.

    Cost: as `nn.LSTMCell` and `step_memory`, of which it keeps what they keep; the backward pass
    can be taken once.
    """
    given.store.check()
    tape, token = given.store.graph(inputs, *before, *parameters)
    if tape is None or token is None:
        steps = MemoryStep(given)
        with torch.no_grad():
            carried = RecurrentState(*_without_graph(steps, inputs, before, parameters))
        read = SparseWeights(steps.slots, carried.values)
        written = SparseWeights(steps.write_slots, steps.write_values)
        return carried, read, written, given.store.advance(None, None), None
    token, ledger = attach_deferred_grads(token, tape, parameters)
    run = _Run(given, ledger, inputs, before, cache)
    *after, token = _StepCell.apply(token, tape, run, inputs, *before)  # type: ignore[misc]
    carried = RecurrentState(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    arrays = run.after
    kept = StepInputs(arrays.hidden, arrays.cell, arrays.reads, arrays.values, arrays.slots)
    store = given.store.advance(tape, token)
    places = data_addresses(carried, read.slots)
    cache = StepCache(carried, read, written, given.order, given.index, places, kept, run.sizes)
    return carried, read, written, store, cache


@jit
def _lstm_rows(gates: Any, before: Any, cell: Any, hidden: Any) -> None:
    """`lstm` for each batch row."""
    for b in range(len(gates)):
        lstm(gates[b], before[b], cell[b], hidden[b])


def _without_graph(
    steps: MemoryStep, inputs: Tensor, before: RecurrentState, parameters: Parameters
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """h, c, r, w^R from the parameters as they are."""
    both = torch.cat([inputs, before.reads], 1)
    gates = torch.addmm(parameters.bias_ih, both, parameters.weight_ih.t())
    gates.addmm_(before.hidden, parameters.weight_hh.t()).add_(parameters.bias_hh)
    hidden = gates.new_empty(before.hidden.shape)
    cell = torch.empty_like(hidden)
    _lstm_rows(gates.numpy(), before.cell.contiguous().numpy(), cell.numpy(), hidden.numpy())
    controls = torch.addmm(parameters.bias, hidden, parameters.weight.t())
    return hidden, cell, *steps.forward(controls, before.values)


class _Run:
    """One step: its buffers, and the calls that fill them."""

    __slots__ = (
        *("after", "before", "found", "given", "kept", "ledger", "rows", "sizes", "slots"),
        *("write_slots", "write_values"),
    )

    def __init__(
        self,
        given: StepRequest,
        ledger: DeferredGrads,
        inputs: Tensor,
        before: RecurrentState,
        cache: StepCache | None,
    ) -> None:
        self.given, self.ledger = given, ledger
        if cache is None:
            tensors = [tensor.contiguous() for tensor in (*before, given.slots)]
            self.before = StepInputs(*as_arrays(*tensors))
            self.sizes = _sizes(given, ledger)
        else:
            self.before, self.sizes = cache.arrays, cache.sizes

    def forward(self, inputs: Tensor, before: RecurrentState) -> tuple[Tensor, ...]:
        """h, c, r and w^R; all else stays here."""
        given, sizes = self.given, self.sizes
        new, empty = inputs.new_empty, partial(torch.empty_like, memory_format=_CONTIGUOUS)
        hidden, cell, reads, values = map(empty, before)
        self.slots, self.write_slots = empty(given.slots), empty(given.write.slots)
        self.write_values = empty(given.write.values)
        self.rows = given.slots.new_empty(sizes.rows)
        self.kept, self.found = new(len(inputs), sizes.kept), new(sizes.found)
        self.after = StepOutputs(
            *(hidden.numpy(), cell.numpy(), reads.numpy(), values.numpy(), self.slots.numpy()),
            *(self.write_slots.numpy(), self.write_values.numpy(), self.rows.numpy()),
            *(self.kept.numpy(), self.found.numpy()),
        )
        with given.store.buffer.changing():
            self._take(inputs.detach().contiguous().numpy(), inputs.dtype)
        return hidden, cell, reads, values

    def _take(self, inputs: Any, dtype: torch.dtype) -> None:
        given, sizes, before, after = self.given, self.sizes, self.before, self.after
        weights = self.ledger.weights
        views, numbers = begin_step_with(
            given,
            lambda views, numbers: begin_cell(
                *(inputs, before, after, weights, views.oldest, views.arrays, numbers, views.exact)
            ),
            *(dtype, after.kept[:, sizes.controls :], after.write_slots, sizes.accesses),
        )
        if not views.exact:
            batch_size, heads, most = after.slots.shape
            keys = self.kept.narrow(1, sizes.controls, heads * sizes.word)
            keys = keys.reshape(batch_size, heads, sizes.word)
            cosine = after.found[: after.slots.size].reshape(batch_size, heads, most)
            query_index(given, keys, self.write_slots, after.slots, cosine, self.slots)
            right = end_cell(before, after, views.oldest, views.arrays, numbers, sizes.controls)
            check_found_slots(right, given.index)


def _sizes(given: StepRequest, ledger: DeferredGrads) -> _Sizes:
    inner, gates = ledger.weights.all.shape
    read, written, word = given.slots, given.write.slots, given.store.word_size
    return _Sizes(
        controls=inner + gates,
        kept=inner + gates + len(ledger.weights.interface_bias),
        word=word,
        found=read.numel() * (1 + word),
        rows=2 * read.numel() + len(read) * given.order.count,
        accesses=read[0].numel() + written[0].numel(),
    )


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        before = RecurrentState(*tensors)
        hidden, cell, reads, values = run.forward(inputs, before)
        ctx.least, ctx.ledger, ctx.word = run.given.least, run.ledger, run.sizes.word
        saved = run.kept, run.found, values, before.values, before.cell, cell, hidden
        record_node(ctx, tape, (run.rows,), *saved)
        return hidden, cell, reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        check_single_backward(ctx)
        rows, kept, found, values, before_values, before_cell, cell, hidden = ctx.saved_tensors
        of_hidden, of_cell = writable_grad(grads[0], hidden), writable_grad(grads[1], cell)
        of_reads, of_values = grads[2], writable_grad(grads[3], values)
        batch_size, units = hidden.shape
        width = values.shape[1] * ctx.word
        inner = len(ctx.ledger.weights.all)
        if of_reads is None:
            of_reads = kept.new_zeros(batch_size, width)
        needed = ctx.needs_input_grad[3]
        of_inputs = kept.new_empty(batch_size, inner - width - units if needed else 0)
        of_before = kept.new_empty(batch_size, width)
        arrays = CellBack(
            *(kept.numpy(), found.numpy(), values.detach().numpy()),
            *(before_values.detach().contiguous().numpy(),),
            *(before_cell.detach().contiguous().numpy(), cell.detach().numpy()),
            *(of_inputs.numpy(), of_hidden.numpy(), of_cell.numpy()),
            *(of_reads.contiguous().numpy(), of_values.numpy(), of_before.numpy()),
            *(grad_rows(ctx, 0, rows).numpy(), ctx.tape.begin()[0].numpy()),
        )
        cell_backward(arrays, ctx.ledger.back(batch_size), ctx.least, EPS)
        finish_node(ctx)
        ctx.ledger.entries.append(Entry(kept, hidden))
        of_inputs = of_inputs if needed else None
        return grads[4], None, None, of_inputs, of_hidden, of_cell, of_before, of_values
