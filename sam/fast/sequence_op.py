"""SAM or SDNC over a whole sequence, as one operation of autograd.

The compiled form of `MemoryNetwork`'s loop over a controller (see `sam.fast.controller_layers`),
`Interface` and `SAMMemory` or `SDNCMemory`: the same values and gradients to rounding. One node of
the graph takes the place of some hundred a step, and of what a step needs in the backward pass each
number is saved once.
"""

import itertools
from typing import Any

import torch
from torch import Tensor

from sam.fast.controller_layers import Carried, Layers
from sam.fast.linked_sequence import LinkedBackward, LinkedRun
from sam.fast.sequence_op_backward import SequenceBackward
from sam.fast.sequence_plan import CallSizes, plan_of
from sam.fast.sequence_run import Run, SequenceResult
from sam.fast.step_request import StepRequest
from sam.once_differentiable import once_differentiable
from sam.store.gradient_tape import Tape, enter_backward, finish_node, record_node


def unroll(
    request: StepRequest,
    layers: Layers,
    inputs: Tensor,
    before: Carried,
    parameters: tuple[Tensor, ...],
) -> SequenceResult:
    """Runs T steps.

    Args:
        request: the memory and settings; the store's handle is consumed.
        layers: of the controller.
        inputs: x, [T, B, I].
        before: the state before the first step.
        parameters: of the layers, then weight and bias of the interface.

    Raises:
        NonFiniteError: a word or key is NaN or infinite; the state is consumed, as in a step.
        StaleStateError: the store was consumed before.

    Cost: the arithmetic of T steps and, without an approximate index, O(T B H R W) for R words in
    use. Keeps about 6 C + P + H (K + 1) W numbers a step and batch row for the backward pass, which
    can be taken once, for C LSTM units in all layers; of a GRU 5 C, of feed-forward ones 2 C; an
    SDNC R K (W + 4) more. Without a graph the same for 256 steps at a time.
    """
    request.store.check()
    tensors = (inputs, *before.tensors, *parameters)
    tape, token = request.store.graph(*tensors)
    if tape is None or token is None:
        with torch.no_grad():
            return _pieces(request, layers, inputs, before, parameters)
    run = _run_for(request, layers, inputs, parameters)
    op = _Unroll if request.links is None else _UnrollLinked
    hidden, reads, *last, token = op.apply(token, tape, run, *tensors)  # type: ignore[misc]
    return run.result(hidden, reads, Carried.of(last), request.store.advance(tape, token))


def _run_for(
    request: StepRequest, layers: Layers, inputs: Tensor, parameters: tuple[Tensor, ...]
) -> Run:
    (_, heads, top_k), writes = request.slots.shape, request.write.slots.shape[1:]
    controls, linked = len(parameters[-1]), request.links is not None
    (steps, batch_size, width), word = inputs.shape, request.store.word_size
    sizes = CallSizes(steps, batch_size, width, heads, top_k, word, *writes, controls)  # type: ignore[misc]
    plan = plan_of(layers, sizes, linked, inputs.dtype)
    return (LinkedRun if linked else Run)(request, plan)


_PIECE = 256  # steps whose intermediate results are held at a time without a graph


def _pieces(
    request: StepRequest,
    layers: Layers,
    inputs: Tensor,
    before: Carried,
    parameters: tuple[Tensor, ...],
) -> SequenceResult:
    """`unroll` without a graph."""
    hidden, reads, result = [], [], None
    lengths, starts = request.lengths, request.starts
    for number, piece in enumerate(inputs.split(_PIECE)):
        if starts is not None:
            here = starts[number * _PIECE : number * _PIECE + len(piece)]
            request = request._replace(starts=here if here.any() else None)
        run = _run_for(request, layers, piece, parameters)
        last = run.forward(piece, before, parameters)
        store = request.store.advance(None, None)
        result = run.result(*run.outputs(), last, store)
        hidden.append(result.hidden)
        reads.append(result.reads)
        lengths = None if lengths is None else lengths - _PIECE
        request = request._replace(
            store=store, slots=result.read.slots, write=result.write, lengths=lengths
        )
        before = last
    assert result is not None
    if len(hidden) == 1:
        return result
    return result._replace(hidden=torch.cat(hidden), reads=torch.cat(reads))


class _Unroll(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: Run, inputs: Tensor, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        plan, request = run.plan, run.request
        count = plan.layers.carried + 2
        last = run.forward(inputs, Carried.of(tensors[:count]), tensors[count:])
        parts = inputs, *tensors, *run.numbers(), request.starts, request.lengths
        record_node(ctx, tape, run.rows(), *parts)
        ctx.min_strength, ctx.sharpening = request.min_strength, request.sharpening
        ctx.run_type, ctx.plan = type(run), plan
        return *run.outputs(), *last.tensors, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        run_type, layers = ctx.run_type, ctx.plan.layers
        names = run_type.numbers_with(layers)
        sizes = len(run_type.slots_saved) + 1, 1, layers.carried + 2
        edges = [0, *itertools.accumulate((*sizes, layers.parameters + 2, len(names), 2))]
        tensors = ctx.saved_tensors
        parts = (tensors[start:stop] for start, stop in itertools.pairwise(edges))
        rows, (inputs,), before, parameters, numbers, (begins, lengths) = parts
        saved = dict(zip(names, numbers, strict=True))
        back_type = LinkedBackward if run_type is LinkedRun else SequenceBackward
        back = back_type(ctx, rows, inputs, Carried.of(before), saved, lengths, begins)
        carried = back.run(parameters, grads)
        wants_inputs, *wanted = ctx.needs_input_grad[3:]
        result = [
            back.grad_inputs() if wants_inputs else None,
            *carried,
            *(back.grad_parameters() if any(wanted[len(carried) :]) else (None,) * len(parameters)),
        ]
        finish_node(ctx)
        return grads[-1], None, None, *result


class _UnrollLinked(_Unroll):
    """The same for an SDNC, under a name of its own in the graph: it keeps other parts."""
