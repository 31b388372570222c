"""`sam.fast.loops.memory_loops` as an operation of autograd."""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.fast.array_views import writable_grad
from sam.fast.fused_access import min_strength
from sam.fast.loops.memory_loops import (
    Step,
    StepBack,
    StepSaved,
    begin_step,
    end_step,
    step_backward,
)
from sam.fast.step_request import StepRequest, begin_step_with, check_found_slots, query_index
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.memory.together import check_active, join
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.gradient_tape import Tape, check_single_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

packed = partial(torch.empty_like, memory_format=torch.contiguous_format)


class StepResult(NamedTuple):
    """What came out."""

    reads: Tensor  # r, [B, H, W]
    read: SparseWeights  # w^R
    write: SparseWeights  # w^W
    store: WordStore


def step_memory(given: StepRequest, controls: Tensor, before: Tensor) -> StepResult:
    """One step of `SAMMemory` from what the interface's linear layer put out.

    Args:
        given: the memory and settings; the store's handle is consumed.
        controls: p, before any squashing, [B, P]; overwritten, so of no other use to anyone.
        before: w^R_{t-1}, [B, H, K].

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        StaleStateError: the store was consumed before.

    Cost: O(B H K W) and the search; keeps H K W + P numbers and O(H K) a batch row for the
    backward pass, which can be taken once.
    """
    given.store.check()
    run = MemoryStep(given)
    tape, token = given.store.graph(controls, before)
    if tape is None or token is None:
        with torch.no_grad():
            reads, values = run.forward(controls, before)
    else:
        reads, values, token = _StepMemory.apply(token, tape, run, controls, before)  # type: ignore[misc]
    store = given.store.advance(tape, token)
    heads = given.slots.shape[1]
    return StepResult(
        reads.view(len(reads), heads, -1),
        SparseWeights(run.slots, values),
        SparseWeights(run.write_slots, run.write_values),
        store,
    )


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
    """
    heads, writes, size = memory.num_heads, memory.num_writes, memory.word_size
    width = (heads + writes) * size + 2 * writes + heads
    if values.shape[1:] != (width,):
        raise ShapeError(f"values: expected shape [B, P={width}], got {[*values.shape]}")
    check_active(active, len(values), values.device)
    last = state.read_weights
    given = StepRequest(
        *(state.words, state.order, state.index, last.slots, state.write_weights, active),
        threshold=memory.access_threshold,
        least=min_strength(memory),
    )
    reads, read, write, words = step_memory(given, values, last.values)
    return reads, join(SAMState(words, read, write, state.order, state.index), memory)


class _Sizes(NamedTuple):
    """Of a memory, and where its parts lie in the buffers of a step."""

    batch: int  # B
    heads: int  # H
    most: int  # K
    writes: int  # V
    width: int  # J
    word: int  # W

    @property
    def read(self) -> int:
        """B H K, words read."""
        return self.batch * self.heads * self.most

    def cut_rows(self, rows: Any) -> tuple[Any, Any]:
        """Of words read at this step and before, and of those written over."""
        b, h, k, v, _, _ = self
        return rows[: 2 * self.read].reshape(b, 2, h, k), rows[2 * self.read :].reshape(b, v)

    def cut_floats(self, floats: Any) -> tuple[Any, Any]:
        """Cosines and words."""
        b, h, k, _, _, w = self
        return floats[: self.read].reshape(b, h, k), floats[self.read :].reshape(b, h, k, w)


class MemoryStep:
    """One step: its buffers, and the calls that fill them.

    What the way back needs lies in few buffers: making tensors and arrays is what a step would
    spend most of its time on.
    """

    def __init__(self, given: StepRequest) -> None:
        self.given = given
        batch, heads, most = given.slots.shape
        writes, width = given.write.slots.shape[1:]
        self.sizes = sizes = _Sizes(batch, heads, most, writes, width, given.store.word_size)
        self.slots, self.write_slots = packed(given.slots), packed(given.write.slots)
        self.rows = given.slots.new_empty(2 * sizes.read + sizes.batch * sizes.writes)

    def forward(self, controls: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """r and w^R; what the way back needs is kept as attributes."""
        reads, values, step = self.buffers(controls, before)
        with self.given.store.buffer.changing():
            self._take(step, controls)
        return reads, values

    def buffers(self, controls: Tensor, before: Tensor) -> tuple[Tensor, Tensor, Step]:
        """Room for r and w^R, and for all of a step."""
        given, sizes = self.given, self.sizes
        self.floats = controls.new_empty(sizes.read * (1 + sizes.word))
        self.write_values = packed(given.write.values)
        values = controls.new_empty(given.slots.shape)
        reads = controls.new_empty(sizes.batch, sizes.heads * sizes.word)
        if given.active is not None:
            self.write_slots.copy_(given.write.slots)
            self.write_values.copy_(given.write.values)
        rows, oldest_rows = sizes.cut_rows(self.rows.numpy())
        cosine, words = sizes.cut_floats(self.floats.numpy())
        step = Step(
            active=_EVERY if given.active is None else given.active.numpy(),
            controls=controls.detach().numpy(),
            at=0,
            before=given.slots.contiguous().numpy(),
            before_values=before.detach().contiguous().numpy(),
            oldest=np.empty((sizes.batch, sizes.writes), dtype=np.int64),
            write_slots=self.write_slots.numpy(),
            write_values=self.write_values.numpy(),
            slots=self.slots.numpy(),
            cosine=cosine,
            values=values.numpy(),
            words=words,
            reads=reads.numpy(),
            rows=rows,
            oldest_rows=oldest_rows,
        )
        return reads, values, step

    def _take(self, step: Step, controls: Tensor) -> None:
        """Fills the buffers."""
        given, sizes = self.given, self.sizes
        accesses = sizes.heads * sizes.most + sizes.writes * sizes.width
        views, numbers = begin_step_with(
            given,
            lambda views, numbers: begin_step(step, views.arrays, numbers, views.exact),
            *(controls.dtype, step.controls, step.write_slots, accesses),
        )
        if not views.exact:
            keys = controls.detach()[:, : sizes.heads * sizes.word]
            keys = keys.reshape(sizes.batch, sizes.heads, sizes.word)
            query_index(given, keys, self.write_slots, step.slots, step.cosine, self.slots)
            check_found_slots(end_step(step, views.arrays, numbers), given.index)


_EVERY = np.ones(0, dtype=bool)  # every row takes the step


class _StepMemory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: MemoryStep, controls: Tensor, before: Tensor
    ) -> tuple[Tensor, ...]:
        reads, values = run.forward(controls, before)
        ctx.least, ctx.sizes = run.given.least, run.sizes
        record_node(ctx, tape, (run.rows,), controls, before, values, run.floats, run.given.active)
        return reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        check_single_backward(ctx)
        rows, *kept = ctx.saved_tensors
        of_values = _step_back(ctx, rows, tuple(kept), grads[0], grads[1])
        finish_node(ctx)
        return grads[2], None, None, kept[0], of_values


def _step_back(
    ctx: Any,
    rows: Tensor,
    kept: tuple[Tensor | None, ...],
    of_reads: Tensor | None,
    of_values: Tensor | None,
) -> Tensor:
    """The way back through a memory's step; its controls become their gradients.

    Args:
        ctx: of the operation, with `least` and `sizes`.
        rows: `MemoryStep.rows`, the first that `record_node` was given.
        kept: controls, w^R_{t-1}, w^R, `MemoryStep.floats`, active rows.
        of_reads, of_values: gradients of r and w^R.

    Returns:
        The gradient of w^R_{t-1}.
    """
    controls, before, values, floats, active = kept
    assert controls is not None and before is not None
    assert values is not None and floats is not None
    sizes = ctx.sizes
    if of_reads is None:
        of_reads = controls.new_zeros(sizes.batch, sizes.heads * sizes.word)
    of_values = writable_grad(of_values, values)
    cosine, words = sizes.cut_floats(floats.numpy())
    at, oldest = sizes.cut_rows(grad_rows(ctx, 0, rows).numpy())
    step = StepSaved(
        active=_EVERY if active is None else active.numpy(),
        controls=controls.detach().numpy(),
        at=0,
        before_values=before.detach().contiguous().numpy(),
        cosine=cosine,
        values=values.detach().numpy(),
        words=words,
    )
    back = StepBack(
        places=at,
        oldest=oldest,
        reads=of_reads.contiguous().numpy(),
        values=of_values.numpy(),
        memory=ctx.tape.begin()[0].numpy(),
        held=np.empty(sizes.word, dtype=words.dtype),
    )
    step_backward(step, back, ctx.least, EPS)
    return of_values
