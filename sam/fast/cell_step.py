"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled form of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
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
    CellGrads,
    CellSaved,
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
    """What a step found out that the next one needs as well."""

    carried: RecurrentState
    read: SparseWeights  # w^R
    write: SparseWeights  # w^W
    order: AccessOrder
    word_index: VectorIndex
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
    request: StepRequest,
    inputs: Tensor,
    before: RecurrentState,
    parameters: Parameters,
    cache: StepCache | None,
) -> tuple[RecurrentState, SparseWeights, SparseWeights, WordStore, StepCache | None]:
    """One step of the cell.

    Args:
        request: the memory and settings, all rows active; the store's handle is consumed.
        inputs: x, [B, I].
        before: the state before the step.
        parameters: of controller and interface.
        cache: left by the step that this state comes from, if it is known.

    Returns:
        The state after it, w^R, w^W and the store's next handle; and what is left for the next
        step, None without a graph.

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        StaleStateError: the store was consumed before.

    Cost: as `nn.LSTMCell` and `compiled_step`, of which it keeps what they keep; the backward pass
    can be taken once.
    """
    request.store.check()
    tape, token = request.store.graph(inputs, *before, *parameters)
    if tape is None or token is None:
        steps = MemoryStep(request)
        with torch.no_grad():
            carried = RecurrentState(*_without_graph(steps, inputs, before, parameters))
        read = SparseWeights(steps.slots, carried.values)
        written = SparseWeights(steps.write_slots, steps.write_values)
        return carried, read, written, request.store.advance(None, None), None
    token, deferred = attach_deferred_grads(token, tape, parameters)
    run = _Run(request, deferred, inputs, before, cache)
    *after, token = _StepCell.apply(token, tape, run, inputs, *before)  # type: ignore[misc]
    carried = RecurrentState(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    cache = StepCache(
        *(carried, read, written, request.order, request.word_index),
        addresses=data_addresses(carried, read.slots),
        arrays=StepInputs(*run.after[:5]),
        sizes=run.sizes,
    )
    return carried, read, written, request.store.advance(tape, token), cache


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
        *("after", "before", "found", "kept", "deferred", "request", "rows", "sizes", "slots"),
        *("write_slots", "write_values"),
    )

    def __init__(
        self,
        request: StepRequest,
        deferred: DeferredGrads,
        inputs: Tensor,
        before: RecurrentState,
        cache: StepCache | None,
    ) -> None:
        self.request, self.deferred = request, deferred
        if cache is None:
            tensors = [tensor.contiguous() for tensor in (*before, request.slots)]
            self.before = StepInputs(*as_arrays(*tensors))
            self.sizes = _sizes(request, deferred)
        else:
            self.before, self.sizes = cache.arrays, cache.sizes

    def forward(self, inputs: Tensor, before: RecurrentState) -> tuple[Tensor, ...]:
        """h, c, r and w^R; all else stays here."""
        request, sizes = self.request, self.sizes
        new, empty = inputs.new_empty, partial(torch.empty_like, memory_format=_CONTIGUOUS)
        hidden, cell, reads, values = map(empty, before)
        self.slots, self.write_slots = empty(request.slots), empty(request.write.slots)
        self.write_values = empty(request.write.values)
        self.rows = request.slots.new_empty(sizes.rows)
        self.kept, self.found = new(len(inputs), sizes.kept), new(sizes.found)
        self.after = StepOutputs(
            *(hidden.numpy(), cell.numpy(), reads.numpy(), values.numpy(), self.slots.numpy()),
            *(self.write_slots.numpy(), self.write_values.numpy(), self.rows.numpy()),
            *(self.kept.numpy(), self.found.numpy()),
        )
        with request.store.buffer.changing():
            self._take(inputs.detach().contiguous().numpy(), inputs.dtype)
        if request.store.buffer.notes:
            first, writes = sizes.controls + reads.shape[1], request.order.count
            added = self.kept.narrow(1, first, writes * sizes.word)
            request.store.buffer.note(added.view(len(inputs), writes, sizes.word))
        return hidden, cell, reads, values

    def _take(self, inputs: Any, dtype: torch.dtype) -> None:
        request, sizes, before, after = self.request, self.sizes, self.before, self.after
        weights = self.deferred.weights
        views, params = begin_step_with(
            request,
            lambda views, params: begin_cell(
                *(inputs, before, after, weights, views.lru_slots, views.arrays, params),
                views.exact,
            ),
            *(dtype, after.kept[:, sizes.controls :], after.write_slots, sizes.accesses),
        )
        if not views.exact:
            batch_size, heads, top_k = after.slots.shape
            keys = self.kept.narrow(1, sizes.controls, heads * sizes.word)
            keys = keys.reshape(batch_size, heads, sizes.word)
            cosine = after.found[: after.slots.size].reshape(batch_size, heads, top_k)
            query_index(request, keys, self.write_slots, after.slots, cosine)
            views.renew(request.store)
            at = sizes.controls
            right = end_cell(before, after, views.lru_slots, views.arrays, params, at)
            check_found_slots(right, request.word_index)


def _sizes(request: StepRequest, deferred: DeferredGrads) -> _Sizes:
    inner, gates = deferred.weights.all.shape
    read, written, word = request.slots, request.write.slots, request.store.word_size
    return _Sizes(
        controls=inner + gates,
        kept=inner + gates + len(deferred.weights.interface_bias),
        word=word,
        found=read.numel() * (1 + word),
        rows=2 * read.numel() + len(read) * request.order.count,
        accesses=read[0].numel() + written[0].numel(),
    )


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        before = RecurrentState(*tensors)
        hidden, cell, reads, values = run.forward(inputs, before)
        ctx.min_strength, ctx.deferred = run.request.min_strength, run.deferred
        ctx.word = run.sizes.word
        saved = run.kept, run.found, values, before.values, before.cell, cell, hidden
        record_node(ctx, tape, (run.rows,), *saved)
        return hidden, cell, reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        check_single_backward(ctx)
        rows, kept, found, values, prev_values, prev_cell, cell, hidden = ctx.saved_tensors
        batch_size, units = hidden.shape
        width = values.shape[1] * ctx.word
        inner = len(ctx.deferred.weights.all)
        needs_inputs = ctx.needs_input_grad[3]
        grad_hidden, grad_cell = writable_grad(grads[0], hidden), writable_grad(grads[1], cell)
        grad_reads, grad_values = grads[2], writable_grad(grads[3], values)
        if grad_reads is None:
            grad_reads = kept.new_zeros(batch_size, width)
        grad_inputs = kept.new_empty(batch_size, inner - width - units if needs_inputs else 0)
        grad_prev_reads = kept.new_empty(batch_size, width)
        saved = CellSaved(
            *(kept.numpy(), found.numpy(), values.detach().numpy()),
            *(prev_values.detach().contiguous().numpy(),),
            *(prev_cell.detach().contiguous().numpy(), cell.detach().numpy()),
            grad_rows(ctx, 0, rows).numpy(),
        )
        cell_grads = CellGrads(
            *(grad_inputs.numpy(), grad_hidden.numpy(), grad_cell.numpy()),
            *(grad_reads.contiguous().numpy(), grad_values.numpy(), grad_prev_reads.numpy()),
            ctx.tape.begin()[0].numpy(),
        )
        weights = ctx.deferred.back(batch_size)
        cell_backward(saved, cell_grads, weights, ctx.min_strength, EPS)
        finish_node(ctx)
        ctx.deferred.entries.append(Entry(kept, hidden))
        state_grads = grad_hidden, grad_cell, grad_prev_reads, grad_values
        return grads[4], None, None, grad_inputs if needs_inputs else None, *state_grads
