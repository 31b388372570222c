"""`sam.fast.loops.memory_loops` as an operation of autograd."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.fast.array_views import writable_grad
from sam.fast.loops.memory_loops import (
    Rows,
    Step,
    StepGrads,
    StepSaved,
    begin_step,
    end_step,
    step_backward,
)
from sam.fast.step_request import (
    StepRequest,
    begin_step_with,
    check_found_slots,
    query_index,
    request_for,
)
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.shape_checks import check_rows
from sam.store.companions import join
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node

packed = partial(torch.empty_like, memory_format=torch.contiguous_format)


def compiled_step(
    memory: SAMMemory, values: Tensor, state: SAMState, active: Tensor | None
) -> tuple[Tensor, SAMState]:
    """`SAMMemory.step` from what the interface's linear layer put out; the same to rounding.

    Args:
        memory: settings that `is_fusible`.
        values: p, before any squashing, [B, P]; overwritten.
        state: that `memory.check_state` has passed and that `has_current_shapes`; it is consumed.
        active: rows that take the step, bool [B]; None is all.

    Raises:
        ShapeError, NonFiniteError: as `SAMMemory.step`.

    Cost: O(B H K W) and the search; keeps H K W + P numbers and O(H K) a batch row for the
    backward pass, which can be taken once.
    """
    heads, writes, size = memory.num_heads, memory.num_writes, memory.word_size
    width = (heads + writes) * size + 2 * writes + heads
    if values.shape[1:] != (width,):
        raise ShapeError(f"values: expected shape [B, P={width}], got {[*values.shape]}")
    if active is not None:
        check_rows("active", active, len(values), values.device)
    run, prev = MemoryStep(request_for(memory, state, active=active)), state.read_weights.values
    tape, token = state.words.graph(values, prev)
    if tape is None or token is None:
        with torch.no_grad():
            reads, read_values = run.forward(values, prev)
    else:
        reads, read_values, token = _StepMemory.apply(token, tape, run, values, prev)  # type: ignore[misc]
    after = state._replace(
        words=state.words.advance(tape, token),
        read_weights=SparseWeights(run.slots, read_values),
        write_weights=SparseWeights(run.write_slots, run.write_values),
    )
    return reads.view(len(reads), heads, -1), join(after, memory)


class _Sizes(NamedTuple):
    """Of a memory, and where its parts lie in the buffers of a step."""

    batch: int  # B
    heads: int  # H
    top_k: int  # K
    writes: int  # V
    num_write_slots: int  # J
    word: int  # W

    @property
    def read(self) -> int:
        """B H K, words read."""
        return self.batch * self.heads * self.top_k

    def cut_rows(self, rows: Any) -> Rows:
        """Of words read at this step and before, and of those written over."""
        shape, read = (self.batch, self.heads, self.top_k), self.read
        return Rows(
            rows[:read].reshape(shape),
            rows[read : 2 * read].reshape(shape),
            rows[2 * read :].reshape(self.batch, self.writes),
        )

    def cut_floats(self, floats: Any) -> tuple[Any, Any]:
        """Cosines and words."""
        shape = self.batch, self.heads, self.top_k
        return floats[: self.read].reshape(shape), floats[self.read :].reshape(*shape, self.word)


class MemoryStep:
    """One step: its buffers, and the calls that fill them.

    What the backward pass needs lies in few buffers: a step would spend most of its time on making
    tensors and arrays.
    """

    def __init__(self, request: StepRequest) -> None:
        self.request = request
        batch, heads, top_k = request.slots.shape
        writes, count = request.write.slots.shape[1:]
        self.sizes = sizes = _Sizes(batch, heads, top_k, writes, count, request.store.word_size)
        self.slots, self.write_slots = packed(request.slots), packed(request.write.slots)
        self.rows = request.slots.new_empty(2 * sizes.read + sizes.batch * sizes.writes)

    def forward(self, controls: Tensor, prev: Tensor) -> tuple[Tensor, Tensor]:
        """r and w^R; what the backward pass needs is kept as attributes."""
        request, sizes = self.request, self.sizes
        self.floats = controls.new_empty(sizes.read * (1 + sizes.word))
        self.write_values = packed(request.write.values)
        values = controls.new_empty(request.slots.shape)
        reads = controls.new_empty(sizes.batch, sizes.heads * sizes.word)
        if request.active is not None:
            self.write_slots.copy_(request.write.slots)
            self.write_values.copy_(request.write.values)
        cosine, words = sizes.cut_floats(self.floats.numpy())
        step = Step(
            active=_EVERY if request.active is None else request.active.numpy(),
            controls=controls.detach().numpy(),
            at=0,
            prev_slots=request.slots.contiguous().numpy(),
            prev_values=prev.detach().contiguous().numpy(),
            lru_slots=np.empty((sizes.batch, sizes.writes), dtype=np.int64),
            write_slots=self.write_slots.numpy(),
            write_values=self.write_values.numpy(),
            slots=self.slots.numpy(),
            cosine=cosine,
            values=values.numpy(),
            words=words,
            reads=reads.numpy(),
        )
        with request.store.buffer.changing():
            self._take(step, controls)
        if request.store.buffer.notes:
            added = controls.narrow(1, sizes.heads * sizes.word, sizes.writes * sizes.word)
            request.store.buffer.note(added.view(sizes.batch, sizes.writes, sizes.word))
        return reads, values

    def _take(self, step: Step, controls: Tensor) -> None:
        """Fills the buffers."""
        request, sizes, rows = self.request, self.sizes, self.sizes.cut_rows(self.rows.numpy())
        accesses = sizes.heads * sizes.top_k + sizes.writes * sizes.num_write_slots
        views, params = begin_step_with(
            request,
            lambda views, params: begin_step(step, rows, views.arrays, params, views.exact),
            *(controls.dtype, step.controls, step.write_slots, accesses),
        )
        if not views.exact:
            keys = controls.detach()[:, : sizes.heads * sizes.word]
            keys = keys.reshape(sizes.batch, sizes.heads, sizes.word)
            query_index(request, keys, self.write_slots, step.slots, step.cosine)
            views.renew(request.store)
            check_found_slots(end_step(step, rows, views.arrays, params), request.word_index)


_EVERY = np.ones(0, dtype=bool)  # every row takes the step


class _StepMemory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: MemoryStep, controls: Tensor, prev: Tensor
    ) -> tuple[Tensor, ...]:
        reads, values = run.forward(controls, prev)
        ctx.min_strength, ctx.sizes = run.request.min_strength, run.sizes
        record_node(ctx, tape, (run.rows,), controls, prev, values, run.floats, run.request.active)
        return reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        rows, controls, prev, values, floats, active = ctx.saved_tensors
        sizes, grad_reads = ctx.sizes, grads[0]
        if grad_reads is None:
            grad_reads = controls.new_zeros(sizes.batch, sizes.heads * sizes.word)
        grad_values = writable_grad(grads[1], values)
        cosine, words = sizes.cut_floats(floats.numpy())
        step = StepSaved(
            active=_EVERY if active is None else active.numpy(),
            controls=controls.detach().numpy(),
            at=0,
            prev_values=prev.detach().contiguous().numpy(),
            cosine=cosine,
            values=values.detach().numpy(),
            words=words,
        )
        step_grads = StepGrads(
            reads=grad_reads.contiguous().numpy(),
            values=grad_values.numpy(),
            memory=ctx.tape.begin()[0].numpy(),
            word=np.empty(sizes.word, dtype=words.dtype),
        )
        touched = sizes.cut_rows(grad_rows(ctx, 0, rows).numpy())
        step_backward(step, touched, step_grads, ctx.min_strength, EPS)
        finish_node(ctx)
        # The controls have become their gradients, and those of w^R the gradients of w^R_{t-1}.
        return grads[2], None, None, controls, grad_values
