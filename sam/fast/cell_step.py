"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled form of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
the products that an `nn.LSTMCell` and a linear layer would, without a node of the graph for each.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, from_numpy

from index import VectorIndex
from sam.fast.array_views import as_arrays
from sam.fast.cell_tensors import Parameters, RecurrentState, data_addresses
from sam.fast.deferred_grads import DeferredGrads, attach_deferred_grads, no_weights
from sam.fast.loops.cell_loops import (
    CellGrads,
    CellSizes,
    begin_cell,
    cell_backward,
    end_cell,
    gates_backward,
    gates_forward,
)
from sam.fast.step_request import StepRequest, begin_step_with, check_found_slots, query_index
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.access_order import AccessOrder
from sam.store.gradient_tape import Tape, check_single_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore


class StepCache(NamedTuple):
    """What a step found out that the next one needs as well."""

    carried: RecurrentState
    read: SparseWeights  # w^R
    write: SparseWeights  # w^W
    order: AccessOrder
    word_index: VectorIndex
    addresses: tuple[int, ...]  # of the tensors that `before` shows
    before: "_Before"  # `carried`, and the slots of `read`
    sizes: CellSizes


class _Before(NamedTuple):
    """The state before a step, as `begin_cell` takes it."""

    floats: Any
    slots: Any


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
        run = _Run(request, None, parameters, inputs, before, cache)
        with torch.no_grad():
            carried = RecurrentState(*run.forward(inputs))
    else:
        token, deferred = attach_deferred_grads(token, tape, parameters, len(inputs))
        run = _Run(request, deferred, parameters, inputs, before, cache)
        *after, token = _StepCell.apply(token, tape, run, inputs, *before)  # type: ignore[misc]
        carried = RecurrentState(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    cache = StepCache(
        *(carried, read, written, request.order, request.word_index),
        addresses=data_addresses(carried, read.slots),
        before=_Before(run.floats, run.found),
        sizes=run.sizes,
    )
    return carried, read, written, request.store.advance(tape, token), cache


class _Run:
    """One step: its arrays, and the calls that fill them.

    All that the step makes lies in four of them. They share no memory with the tensors that others
    get and what the backward pass is given, so these may be changed in place.
    """

    __slots__ = (
        *(
            "back",
            "before",
            "deferred",
            "floats",
            "found",
            "parameters",
            "request",
            "rows",
            "saved",
        ),
        *("sizes", "slots", "write_slots", "write_values"),
    )

    def __init__(
        self,
        request: StepRequest,
        deferred: DeferredGrads | None,
        parameters: Parameters,
        inputs: Tensor,
        before: RecurrentState,
        cache: StepCache | None,
    ) -> None:
        self.request, self.deferred, self.parameters = request, deferred, parameters
        if cache is None:
            floats = np.concatenate([array.ravel() for array in as_arrays(*before)])
            slots = request.slots.contiguous().numpy().ravel()
            self.before, self.sizes = _Before(floats, slots), _sizes(request, parameters, inputs)
        else:
            self.before, self.sizes = cache.before, cache.sizes

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """h, c, r and w^R; all else stays here."""
        request, sizes = self.request, self.sizes
        batch, units, heads, word = sizes.batch, sizes.units, sizes.heads, sizes.word
        given = inputs.detach().contiguous().numpy()
        self.floats = floats = np.empty(sizes.state, given.dtype)
        self.saved = np.empty(sizes.saved, given.dtype)
        self.found = slots = np.empty(sizes.slots, np.int64)
        self.rows = np.empty(sizes.rows, np.int64)
        read, written = (batch, heads, sizes.top_k), (batch, sizes.writes, sizes.write_slots)
        count = batch * heads * sizes.top_k
        self.slots = from_numpy(slots[:count].reshape(read))
        self.write_slots = from_numpy(slots[count:].reshape(written))
        with request.store.buffer.changing():
            self._take(given, inputs.dtype)
        cell, reads = batch * units, 2 * batch * units
        values = reads + batch * heads * word
        self.write_values = from_numpy(floats[values + count :].reshape(written))
        return (
            from_numpy(floats[:cell].reshape(batch, units)),
            from_numpy(floats[cell:reads].reshape(batch, units)),
            from_numpy(floats[reads:values].reshape(batch, heads * word)),
            from_numpy(floats[values : values + count].reshape(read)),
        )

    def _take(self, inputs: Any, dtype: torch.dtype) -> None:
        request, sizes = self.request, self.sizes
        weights = None
        if self.deferred is not None:
            weights, self.back = self.deferred.weights()
        multiplies = weights is not None
        arrays = *self.before, self.floats, self.found, self.saved
        if weights is None:
            self._multiply(from_numpy(inputs), arrays)
            weights = no_weights(inputs.dtype)
        kept = _kept(self.saved, sizes)
        controls = kept[:, sizes.columns - sizes.controls :]
        read = sizes.batch * sizes.heads * sizes.top_k
        write_slots = self.found[read:].reshape(sizes.batch, sizes.writes, sizes.write_slots)
        accesses = len(self.found) // max(sizes.batch, 1)
        views, params = begin_step_with(
            request,
            lambda views, params: begin_cell(
                *(multiplies, inputs, *arrays, self.rows, weights),
                *(views.lru_slots, views.arrays, params, sizes, views.exact),
            ),
            *(dtype, controls, write_slots, accesses),
        )
        if not views.exact:
            shape = sizes.batch, sizes.heads, sizes.top_k
            keys = from_numpy(controls[:, : sizes.heads * sizes.word])
            keys = keys.reshape(sizes.batch, sizes.heads, sizes.word)
            slots, cosine = self.found[:read].reshape(shape), np.empty(shape, inputs.dtype)
            query_index(request, keys, self.write_slots, slots, cosine)
            at = sizes.batch * (sizes.columns + sizes.units) + 2 * read
            self.saved[at : at + read] = cosine.ravel()
            views.renew(request.store)
            loops = views.lru_slots, views.arrays, params, sizes
            check_found_slots(end_cell(*arrays, self.rows, *loops), request.word_index)
        if request.store.buffer.notes:
            first = sizes.heads * sizes.word
            added = controls[:, first : first + sizes.writes * sizes.word]
            added = from_numpy(added).reshape(sizes.batch, sizes.writes, sizes.word)
            request.store.buffer.note(added)

    def _multiply(self, inputs: Tensor, arrays: tuple[Any, ...]) -> None:
        """Controller and interface, with products of torch."""
        sizes, given = self.sizes, self.parameters
        units, batch = sizes.units, sizes.batch
        before, reads = self.before.floats, 2 * batch * units
        hidden = from_numpy(before[: batch * units].reshape(batch, units))
        width = sizes.heads * sizes.word
        words = from_numpy(before[reads : reads + batch * width].reshape(batch, width))
        kept = from_numpy(_kept(self.saved, sizes))
        left, gates, _, controls = _columns(kept, sizes)
        torch.cat([inputs, words, hidden], 1, out=left)
        both = left.narrow(1, 0, sizes.inputs + width)
        torch.addmm(given.bias_ih, both, given.weight_ih.t(), out=gates)
        gates.addmm_(hidden, given.weight_hh.t()).add_(given.bias_hh)
        gates_forward(*arrays, sizes)
        hidden = from_numpy(self.floats[: batch * units].reshape(batch, units))
        torch.addmm(given.bias, hidden, given.weight.t(), out=controls)


def _kept(saved: Any, sizes: CellSizes) -> Any:
    """`CellSaved.kept` of the flat array of a step."""
    return saved[: sizes.batch * sizes.columns].reshape(sizes.batch, sizes.columns)


def _columns(kept: Tensor, sizes: CellSizes) -> Any:
    """[x ; r_{t-1} ; h_{t-1}], gates, h and controls."""
    widths = sizes.inner, 4 * sizes.units, sizes.units, sizes.controls
    return kept.split_with_sizes(widths, 1)


def _sizes(request: StepRequest, parameters: Parameters, inputs: Tensor) -> CellSizes:
    batch, heads, top_k = request.slots.shape
    return CellSizes(
        batch,
        inputs.shape[1],
        parameters.weight.shape[1],
        len(parameters.bias),
        *(heads, top_k, request.store.word_size),
        *request.write.slots.shape[1:],
    )


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, inputs: Tensor, *before: Tensor
    ) -> tuple[Tensor, ...]:
        results = run.forward(inputs)
        ctx.min_strength, ctx.deferred, ctx.sizes = (
            run.request.min_strength,
            run.deferred,
            run.sizes,
        )
        ctx.weights = run.back
        record_node(ctx, tape, (from_numpy(run.rows),), from_numpy(run.saved))
        return *results, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        check_single_backward(ctx)
        rows, saved = ctx.saved_tensors
        sizes, wants_inputs = ctx.sizes, ctx.needs_input_grad[3]
        batch, units, read = sizes.batch, sizes.units, sizes.heads * sizes.word
        floats = saved.numpy()
        state, weights = (batch, units), ctx.weights
        coming = CellGrads(
            _array(grads[0], state, floats.dtype),
            _array(grads[1], state, floats.dtype),
            _array(grads[2], (batch, read), floats.dtype),
            _array(grads[3], (batch, sizes.heads, sizes.top_k), floats.dtype),
            ctx.tape.begin()[0].numpy(),
        )
        out = np.empty(sizes.grads, floats.dtype)
        multiplies = weights is not None
        cell_backward(
            *(multiplies, floats, grad_rows(ctx, 0, rows).numpy(), coming, out),
            *(weights if multiplies else no_weights(floats.dtype), sizes, ctx.min_strength, EPS),
        )
        finish_node(ctx)
        kept = saved.narrow(0, 0, batch * sizes.columns).view(batch, sizes.columns)
        at, found = 0, []
        for width in (sizes.inputs, read, units, units):
            found.append(from_numpy(out[at : at + batch * width].reshape(batch, width)))
            at += batch * width
        grad_values = from_numpy(out[at:].reshape(batch, sizes.heads, sizes.top_k))
        grad_inputs, grad_reads, grad_hidden, grad_cell = found
        if not multiplies:
            _, gates, _, controls = _columns(kept, sizes)
            given = ctx.deferred.parameters
            grad_hidden.addmm_(controls, given.weight)
            gates_backward(floats, out, sizes)
            torch.mm(gates, given.weight_hh, out=grad_hidden)
            both = torch.mm(gates, given.weight_ih)
            grad_inputs, grad_reads = both.split_with_sizes((sizes.inputs, read), 1)
        ctx.deferred.entries.append(kept)
        grad_inputs = grad_inputs if wants_inputs else None
        return grads[4], None, None, grad_inputs, grad_hidden, grad_cell, grad_reads, grad_values


def _array(grad: Tensor | None, shape: tuple[int, ...], dtype: Any) -> Any:
    """A gradient that comes in; zeros where there is none."""
    return np.zeros(shape, dtype) if grad is None else grad.contiguous().numpy()
