"""One step of an LSTM controller, its interface and SAM's memory, as one operation of autograd.

The compiled form of `MemoryCell.forward` for these parts. Beside the memory's own calls it makes
the products that an `nn.LSTMCell` and a linear layer would, without a node of the graph for each.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, from_numpy

from index.entries import Entries
from sam.fast.array_views import ArrayViews, as_arrays, views_for_step
from sam.fast.cell_layout import CellLayout
from sam.fast.cell_tensors import Parameters, RecurrentState
from sam.fast.deferred_grads import DeferredGrads, attach_deferred_grads, no_weights
from sam.fast.loops.cell_arrays import CellGrads
from sam.fast.loops.cell_loops import (
    begin_cell,
    cell_backward,
    end_cell,
    gates_backward,
    gates_forward,
)
from sam.fast.loops.kernel_arrays import FINISHED, OUTSIDE, KernelParams
from sam.fast.step_request import (
    NO_MASK,
    StepRequest,
    check_found_slots,
    query_index,
    slot_range_error,
)
from sam.once_differentiable import direct_apply, once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

_BACKWARD = Entries()


class CellStepCache(NamedTuple):
    """What a step found out that the next one needs as well."""

    before: "_Before"  # the state between both
    layout: CellLayout


class _Before(NamedTuple):
    """The state before a step, as `begin_cell` takes it."""

    floats: Any
    slots: Any


def step_cell(
    request: StepRequest,
    inputs: Tensor,
    before: RecurrentState,
    parameters: Parameters,
    cache: CellStepCache | None,
) -> tuple[RecurrentState, SparseWeights, SparseWeights, WordStore, CellStepCache]:
    """One step of the cell.

    Args:
        request: the memory and settings, all rows active; the store's handle is consumed.
        inputs: x, [B, I].
        before: the state before the step.
        parameters: of controller and interface.
        cache: left by the step that this state comes from, if it is known.

    Returns:
        The state after it, w^R, w^W and the store's next handle; and what is left for the next
        step.

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
        token, deferred = attach_deferred_grads(token, tape, parameters, inputs.shape[0])
        run = _Run(request, deferred, parameters, inputs, before, cache)
        *after, token = _apply_step(token, tape, run, inputs, *before)
        carried = RecurrentState(*after)
    read = SparseWeights(run.slots, carried.values)
    written = SparseWeights(run.write_slots, run.write_values)
    cache = CellStepCache(_Before(run.floats, run.found), run.layout)
    return carried, read, written, request.store.advance(tape, token), cache


class _Run:
    """One step: its arrays, and the calls that fill them.

    All that the step makes lies in four of them. They share no memory with the tensors that others
    get and what the backward pass is given, so these may be changed in place.
    """

    __slots__ = (
        *("before", "deferred", "floats", "found", "layout", "multiplies", "parameters"),
        *("request", "rows", "saved", "slots", "write_slots", "write_values"),
    )

    def __init__(
        self,
        request: StepRequest,
        deferred: DeferredGrads | None,
        parameters: Parameters,
        inputs: Tensor,
        before: RecurrentState,
        cache: CellStepCache | None,
    ) -> None:
        self.request, self.deferred, self.parameters = request, deferred, parameters
        if cache is None:
            floats = np.concatenate([array.ravel() for array in as_arrays(*before)])
            self.before = _Before(floats, request.slots.contiguous().numpy().ravel())
            self.layout = CellLayout.of(request, parameters, inputs)
        else:
            self.before, self.layout = cache.before, cache.layout

    def forward(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """h, c, r and w^R; all else stays here."""
        layout, (given,) = self.layout, as_arrays(inputs.contiguous())
        hidden, cell, reads, values, end = layout.state
        read, written = layout.slots
        # Of torch's memory, which its profiler counts.
        new, count = inputs.new_empty, self.request.slots.new_empty
        self.floats = floats = new(end).numpy()
        self.saved, self.rows = new(layout.saved[-1]), count(layout.rows)
        self.found = found = count(written).numpy()
        with self.request.store.buffer.changing():
            self._take(given, inputs.dtype, self.saved.numpy())
        self.slots = from_numpy(found[:read].reshape(layout.values))
        self.write_slots = from_numpy(found[read:].reshape(layout.written))
        self.write_values = from_numpy(floats[values:].reshape(layout.written))
        return (
            from_numpy(floats[:hidden].reshape(layout.hidden)),
            from_numpy(floats[hidden:cell].reshape(layout.hidden)),
            from_numpy(floats[cell:reads].reshape(layout.reads)),
            from_numpy(floats[reads:values].reshape(layout.values)),
        )

    def _take(self, inputs: Any, dtype: torch.dtype, saved: Any) -> None:
        request, layout = self.request, self.layout
        store, order, sizes = request.store, request.order, layout.sizes
        weights = None if self.deferred is None else self.deferred.weights()
        multiplies = self.multiplies = weights is not None
        arrays: Any = (*self.before, self.floats, self.found, saved)
        if weights is None:
            weights = no_weights(inputs.dtype)
            self._multiply(from_numpy(inputs), arrays)
        clock, size = order.clock, store.memory_size
        views = views_for_step(store, order, request.word_index, dtype)
        views.begin_step(layout.written[1] * layout.written[2])
        views.claim(store, clock, NO_MASK)
        params = KernelParams(size, clock, request.threshold, request.min_strength, EPS)
        begun: Any = multiplies, inputs, *arrays, self.rows.numpy(), weights
        kinds = multiplies, inputs.dtype, self.before.floats.dtype, saved.dtype, weights[1].dtype
        why, high = 0, 0
        while why >= 0:
            given: Any = (*begun, views.lru_slots, views.arrays, params, sizes, views.exact)
            why, high = views.entries.call(begin_cell, given, kinds)
            if why >= 0:
                views.sort(store, clock, why)
        if why != FINISHED:
            self._refuse(why, views, self._kept(saved))
        order.commit_steps(clock + layout.accesses, high=high)
        views.end_step()
        if not views.exact:
            self._find(views, params, arrays, self._kept(saved))
        if store.buffer.notes:
            added = from_numpy(self._kept(saved)[:, layout.adds])
            store.buffer.note(added.reshape(*layout.written[:2], -1))

    def _kept(self, saved: Any) -> Any:
        """`CellSaved.kept`."""
        return saved[: self.layout.saved[0]].reshape(-1, self.layout.width)

    def _refuse(self, why: int, views: ArrayViews, kept: Any) -> None:
        """Raises the error for what `begin_cell` stopped for."""
        if why == OUTSIDE:
            raise slot_range_error(views)
        written = self.found[self.layout.slots[0] :].reshape(self.layout.written)
        raise views.refuse(kept[:, self.layout.keys.start :], written, 0)

    def _find(self, views: ArrayViews, params: KernelParams, arrays: Any, kept: Any) -> None:
        """Asks an index for the words to read, and reads them."""
        request, layout = self.request, self.layout
        keys = from_numpy(kept[:, layout.keys]).unflatten(1, (layout.values[1], -1))
        cosine = arrays[-1][layout.saved[3] : layout.saved[4]].reshape(layout.values)
        slots, written = self.found[: layout.slots[0]], self.found[layout.slots[0] :]
        told = from_numpy(written.reshape(layout.written)), slots.reshape(layout.values), cosine
        query_index(request, keys.contiguous(), *told)
        views.renew(request.store)
        loops = views.lru_slots, views.arrays, params, layout.sizes
        whole: Any = (*arrays, self.rows.numpy(), *loops)
        check_found_slots(end_cell(*whole), request.word_index)

    def _multiply(self, inputs: Tensor, arrays: Any) -> None:
        """Controller and interface, with products of torch."""
        layout, given, before = self.layout, self.parameters, self.before.floats
        end, cell, reads, *_ = layout.state
        kept = self.saved.narrow(0, 0, layout.saved[0]).view(-1, layout.width)
        left, gates, _, controls = kept.split_with_sizes(layout.columns, 1)
        words = from_numpy(before[cell:reads].reshape(layout.reads))
        hidden = from_numpy(before[:end].reshape(layout.hidden))
        torch.cat([inputs, words, hidden], 1, out=left)
        both = left.narrow(1, 0, given.weight_ih.shape[1])
        torch.addmm(given.bias_ih, both, given.weight_ih.t(), out=gates)
        gates.addmm_(hidden, given.weight_hh.t()).add_(given.bias_hh)
        whole: Any = (*arrays, layout.sizes)
        gates_forward(*whole)
        hidden = from_numpy(self.floats[:end].reshape(layout.hidden))
        torch.addmm(given.bias, hidden, given.weight.t(), out=controls)


class _StepCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, inputs: Tensor, *before: Tensor
    ) -> tuple[Tensor, ...]:
        results = run.forward(inputs)
        ctx.min_strength, ctx.deferred = run.request.min_strength, run.deferred
        ctx.layout, ctx.multiplies = run.layout, run.multiplies
        record_node(ctx, tape, (run.rows,), run.saved)
        return *results, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        ctx.deferred.check_unchanged()
        enter_backward(ctx)
        rows, saved = ctx.saved_tensors
        layout, floats = ctx.layout, saved.numpy()
        weights = ctx.deferred.back_weights() if ctx.multiplies else None
        hidden, cell, reads, values, grad_token = grads
        coming = CellGrads(
            _array(hidden, layout.hidden, floats),
            _array(cell, layout.hidden, floats),
            _array(reads, layout.reads, floats),
            _array(values, layout.values, floats),
            ctx.tape.begin()[0].numpy(),
        )
        at_reads, at_hidden, at_cell, at_values, end = layout.grads
        out = np.empty(end, floats.dtype)
        laid_out = no_weights(floats.dtype) if weights is None else weights
        given: Any = (
            *(weights is not None, floats, grad_rows(ctx, 0, rows).numpy(), coming, out),
            *(laid_out, layout.sizes, ctx.min_strength, EPS),
        )
        # Gradients have the dtype of what they are of.
        kinds = weights is not None, floats.dtype, coming.memory.dtype, laid_out[1].dtype
        _BACKWARD.call(cell_backward, given, kinds)
        finish_node(ctx)
        kept = from_numpy(floats[: layout.saved[0]].reshape(layout.sizes.batch, layout.width))
        grad_hidden = from_numpy(out[at_hidden:at_cell].reshape(layout.hidden))
        if weights is None:
            grad_inputs, grad_reads = _multiply_back(ctx, kept, grad_hidden, (floats, out))
        else:
            shape = layout.sizes.batch, layout.sizes.inputs
            grad_inputs = from_numpy(out[:at_reads].reshape(shape))
            grad_reads = from_numpy(out[at_reads:at_hidden].reshape(layout.reads))
        ctx.deferred.add(kept)
        grad_cell = from_numpy(out[at_cell:at_values].reshape(layout.hidden))
        grad_values = from_numpy(out[at_values:].reshape(layout.values))
        state = grad_hidden, grad_cell, grad_reads, grad_values
        if not ctx.needs_input_grad[3]:
            grad_inputs = None
        return grad_token, None, None, grad_inputs, *state


_apply_step = direct_apply(_StepCell)


def _multiply_back(
    ctx: Any, kept: Tensor, grad_hidden: Tensor, arrays: Any
) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of x and r_{t-1}, with products of torch; that of h becomes that of h_{t-1}."""
    layout, given = ctx.layout, ctx.deferred.parameters
    _, gates, _, controls = kept.split_with_sizes(layout.columns, 1)
    grad_hidden.addmm_(controls, given.weight)
    whole: Any = (*arrays, layout.sizes)
    gates_backward(*whole)
    _, _, _, wants_inputs, wants_hidden, _, wants_reads, _ = ctx.needs_input_grad
    if wants_hidden:  # not those of the state an episode begins with, which at few steps count
        torch.mm(gates, given.weight_hh, out=grad_hidden)
    if not wants_inputs and not wants_reads:
        return None, None
    both = torch.mm(gates, given.weight_ih)
    grad_inputs, grad_reads = both.split_with_sizes((layout.sizes.inputs, layout.reads[1]), 1)
    return grad_inputs, grad_reads


def _array(grad: Tensor | None, shape: tuple[int, ...], like: Any) -> Any:
    """A gradient that comes in; zeros where there is none."""
    return np.zeros(shape, like.dtype) if grad is None else grad.contiguous().numpy()
