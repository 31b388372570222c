"""One step of an LSTM controller, its interface and SDNC's memory, as one operation of autograd.

The loops are those of a sequence, with a single step; what a step would have to make anew each time
is kept from step to step. The parameters' gradients of many steps are made at once, see
`sam.fast.deferred_grads`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, from_numpy

from sam.fast.array_views import ArrayViews, as_arrays
from sam.fast.cell_tensors import Parameters, RecurrentState
from sam.fast.compiled_links import update_links
from sam.fast.controller_layers import LaidOut
from sam.fast.deferred_grads import DeferredGrads, attach_deferred_grads
from sam.fast.linked_plan import LinkedPlan
from sam.fast.loops import linked_sequence_backward, linked_sequence_forward
from sam.fast.loops.kernel_arrays import KernelParams, Scratch, Start
from sam.fast.loops.layers import Grads
from sam.fast.loops.linked_arrays import LinkedSaved, LinkedSequence, Links
from sam.fast.loops.linked_sequence_backward import LinkedRows
from sam.fast.step_request import StepRequest, begin_step_with
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore


def linked_cell_step(
    request: StepRequest,
    inputs: Tensor,
    before: RecurrentState,
    parameters: Parameters,
    plan: LinkedPlan | None,
) -> tuple[RecurrentState, SparseWeights, SparseWeights, WordStore, LinkedPlan]:
    """One step of the cell, over an exact index that `searches_in_loops`.

    Args:
        request: the memory and settings, all rows active; the store's handle is consumed.
        inputs: x, [B, I].
        before: the state before the step.
        parameters: of controller and interface.
        plan: of a step before with the same sizes, if there was one.

    Returns:
        The state after it, w^R, w^W and the store's next handle; and the plan.

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        StaleStateError: the store was consumed before.

    Cost: as `nn.LSTMCell` and `linked_step`; keeps about as much as a step of a sequence. The
    backward pass can be taken once.
    """
    request.store.check()
    plan = LinkedPlan(request, parameters, inputs) if plan is None else plan
    tape, token = request.store.graph(inputs, *before, *parameters)
    if tape is None or token is None:
        run = _Run(plan, request, parameters)
        with torch.no_grad():
            carried = RecurrentState(*run.forward(inputs, *before))
    else:
        rows, lay_out = plan.batch, plan.lay_out
        token, deferred = attach_deferred_grads(token, tape, parameters, rows, lay_out)
        run = _Run(plan, request, parameters, deferred)
        *after, token = _LinkedCell.apply(token, tape, run, inputs, *before)  # type: ignore[misc]
        carried = RecurrentState(*after)
    read = SparseWeights(run.slots, carried.values)
    write = SparseWeights(run.write_slots, run.write_values)
    return carried, read, write, request.store.advance(tape, token), plan


class _Run:
    """One step: its arrays, and the calls that fill them."""

    __slots__ = (
        *("deferred", "kept", "laid_out", "parameters", "plan", "request", "rows", "slots"),
        *("write_slots", "write_values"),
    )

    def __init__(
        self,
        plan: LinkedPlan,
        request: StepRequest,
        parameters: Parameters,
        deferred: DeferredGrads | None = None,
    ) -> None:
        self.plan, self.request, self.parameters = plan, request, parameters
        self.deferred = deferred
        self.laid_out: LaidOut | None = None if deferred is None else deferred.weights()

    def forward(
        self, inputs: Tensor, hidden: Tensor, cell: Tensor, reads: Tensor, values: Tensor
    ) -> tuple[Tensor, ...]:
        """h, c, r and w^R; all else stays here."""
        plan, request, new = self.plan, self.request, inputs.new_empty
        self.kept, self.rows = new(plan.kept.size), request.slots.new_empty(plan.rows.size)
        numbers, places = self.kept.numpy(), self.rows.numpy()
        state = new(plan.state.size).numpy()
        left, prev_cell, prev_values, gates, controls, *found = plan.kept.cut(numbers)
        *found, new_hidden, new_cells, new_values = found
        outs, rows = plan.state.cut(state), plan.rows.cut(places)
        taken = plan.slots.cut(request.slots.new_empty(plan.slots.size).numpy())
        torch.cat([inputs, reads, hidden], 1, out=from_numpy(left))
        prev_cell[...], prev_values[...] = cell.detach().numpy(), values.detach().numpy()
        rows[3][...] = request.slots.numpy()
        plan.both[...] = left[:, plan.width :]
        self._multiply(left, prev_cell, gates[0], controls[0])
        cosine, content, parts, words, words_found = found
        saved = LinkedSaved(
            *(gates, new_cells, new_hidden, controls, rows[2], rows[0], new_values, words),
            *(outs[4], rows[1], cosine, content, parts, words_found),
        )
        start = Start(*(prev_cell, rows[3], prev_values, plan.lengths, plan.begins, plan.nothing))
        scratch = Scratch(
            *(plan.both, taken[1], outs[3], plan.active, plan.no_slots, plan.no_values, plan.held)
        )
        with request.store.buffer.changing():
            self._take(saved, start, scratch)
        if request.store.buffer.notes:
            heads, size = request.slots.shape[1], request.store.word_size
            first = heads * (size + 3)
            added = from_numpy(controls[0, :, first : first + size])
            request.store.buffer.note(added.unsqueeze(1))
        begin, count = plan.copied
        state[:count] = numbers[begin:]
        taken[0][...] = rows[0][0]
        places *= plan.batch  # from slots to rows of the store
        places += plan.first_rows
        self.slots, self.write_slots = map(from_numpy, taken)
        self.write_values = from_numpy(outs[3])
        return tuple(map(from_numpy, (outs[0], outs[1], outs[4][0], outs[2])))

    def _multiply(self, left: Any, prev_cell: Any, gates: Any, controls: Any) -> None:
        """Products with the inputs; all, with products of torch, if no weights are laid out."""
        plan, given, laid_out = self.plan, self.parameters, self.laid_out
        left, gates = from_numpy(left), from_numpy(gates)
        if laid_out is not None:
            torch.addmm(laid_out.bias, left[:, : plan.width], laid_out.inputs.t(), out=gates)
            return
        inner = given.weight_ih.shape[1]
        torch.addmm(given.bias_ih, left[:, :inner], given.weight_ih.t(), out=gates)
        gates.addmm_(left[:, inner:], given.weight_hh.t()).add_(given.bias_hh)
        enter, forget, new, out = gates.chunk(4, 1)
        cell = forget.sigmoid().mul_(from_numpy(prev_cell)).addcmul_(enter.sigmoid(), new.tanh())
        hidden = out.sigmoid().mul_(cell.tanh_())
        torch.addmm(given.bias, hidden, given.weight.t(), out=from_numpy(controls))

    def _take(self, saved: LinkedSaved, start: Start, scratch: Scratch) -> None:
        request, plan = self.request, self.plan
        order, size = request.order, request.store.memory_size
        links: Any = request.links
        slots, values = links.precedence
        precedence = SparseWeights(slots.clone(), values.clone())
        weights = plan.no_weights if self.laid_out is None else self.laid_out.weights

        def begin(views: ArrayViews, params: KernelParams) -> tuple[int, int]:
            links.reserve(min(order.slot_bound + order.count, size))
            tables = *links.table.arrays(), *as_arrays(*precedence)
            settings: Any = {"decay_sources": links.decay_sources, "sharpening": request.sharpening}
            memory = views.arrays, params, Links(*tables, **settings)
            run = LinkedSequence(saved, start, weights, scratch, *memory)
            _, why = linked_sequence_forward.unroll(0, 0, plan.batch, run)
            return why, min(int(views.arrays.head.max(initial=0)), size)

        told = saved.controls[0], scratch.write_slots, plan.accesses
        begin_step_with(request, begin, plan.dtype, *told)
        links.precedence, links.last_update = precedence, update_links


class _LinkedCell(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, inputs: Tensor, *before: Tensor
    ) -> tuple[Tensor, ...]:
        results = run.forward(inputs, *before)
        ctx.plan, ctx.deferred = run.plan, run.deferred
        ctx.settings = run.request.min_strength, EPS, run.request.sharpening
        record_node(ctx, tape, (run.rows,), run.kept)
        return *results, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        ctx.deferred.check_unchanged()
        enter_backward(ctx)
        rows, saved = ctx.saved_tensors
        plan, deferred = ctx.plan, ctx.deferred
        batch, read, units = plan.batch, plan.read, plan.units
        kept = plan.kept.cut(saved.numpy())
        left, prev_cell, prev_values, gates, controls, *found, hidden, cells, values = kept
        cosine, content, parts, words, words_found = found
        none = plan.not_needed
        arrays = LinkedSaved(
            *(gates, cells, hidden, controls, none, none, values, words),
            *(plan.zeros[:, :, :read], none, cosine, content, parts, words_found),
        )
        start = Start(prev_cell, none, prev_values, plan.lengths, plan.begins, plan.nothing)
        both = np.zeros((batch, read + units), plan.both.dtype)
        grad_hidden, grad_cell, grad_reads, grad_values, grad_token = grads
        cell = _writable(grad_cell, prev_cell)
        weights = _writable(grad_values, prev_values)
        moving = Grads(
            _incoming(grad_hidden, hidden),
            _incoming(grad_reads, both[None, :, :read]),
            ctx.tape.begin()[0].numpy(),
            *(both, cell, weights, *plan.room),
        )
        slots, near, lru, prev = plan.rows.cut(grad_rows(ctx, 0, rows).numpy())
        linked_sequence_backward.unroll_backward(
            *(0, batch, arrays, start, deferred.back_weights().weights),
            *(LinkedRows(slots, near, lru, prev), moving, plan.borders, *ctx.settings),
        )
        finish_node(ctx)
        of_gates = from_numpy(gates[0])
        entry = from_numpy(left), of_gates, *map(from_numpy, (hidden[0], controls[0]))
        deferred.add(torch.cat(entry, 1))
        grad_inputs = None
        if ctx.needs_input_grad[3]:
            grad_inputs = torch.mm(of_gates, deferred.parameters.weight_ih[:, : plan.width])
        both = from_numpy(both)
        state = both[:, read:], from_numpy(cell), both[:, :read], from_numpy(weights)
        return grad_token, None, None, grad_inputs, *state


def _writable(grad: Tensor | None, like: Any) -> Any:
    """A gradient that comes in as an array of its own; zeros where there is none."""
    return np.zeros_like(like) if grad is None else np.array(grad.numpy(), order="C")


def _incoming(grad: Tensor | None, like: Any) -> Any:
    """A gradient that comes in, [1, B, ...]; zeros where there is none."""
    return np.zeros(like.shape, like.dtype) if grad is None else grad.contiguous().numpy()[None]
