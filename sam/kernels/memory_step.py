"""`sam.kernels.step` as an operation of autograd."""

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from index import VectorIndex
from sam.kernels.lent import Lent, as_arrays
from sam.kernels.sequence import FINISHED, NOT_FINITE, Numbers
from sam.kernels.step import Step, StepBack, StepKept, begin_step, end_step, step_backward
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.ops.store import WordStore
from sam.ops.tape import Tape, claim, close_node, open_node, places
from sam.ops.usage import AccessOrder


class Stepping(NamedTuple):
    """What is run, beside the tensors that get gradients. The memory is changed in place."""

    store: WordStore
    order: AccessOrder
    index: VectorIndex
    slots: Tensor  # of w^R_{t-1}, int64 [B, H, K]
    write: SparseWeights  # w^W_{t-1}; what a row that waits keeps
    active: Tensor | None  # rows that take the step, bool [B]; None is all
    threshold: float  # delta
    least: float  # of the strengths' activation


class Stepped(NamedTuple):
    """What came out."""

    reads: Tensor  # r, [B, H, W]
    read: SparseWeights  # w^R
    write: SparseWeights  # w^W
    store: WordStore


def step_memory(given: Stepping, controls: Tensor, before: Tensor) -> Stepped:
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
    run = _Run(given)
    tape, token = given.store.graph(controls, before)
    if tape is None or token is None:
        with torch.no_grad():
            reads, values = run.forward(controls, before)
    else:
        reads, values, token = _StepMemory.apply(token, tape, run, controls, before)  # type: ignore[misc]
    store = given.store.advance(tape, token)
    heads = given.slots.shape[1]
    return Stepped(
        reads.view(len(reads), heads, -1),
        SparseWeights(run.slots, values),
        SparseWeights(run.write_slots, run.write_values),
        store,
    )


class _Run:
    """One step: its buffers, and the calls that fill them."""

    def __init__(self, given: Stepping) -> None:
        self.given = given

    def forward(self, controls: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """r and w^R; what the way back needs is kept as attributes."""
        given, order = self.given, self.given.order
        batch_size, heads, most = given.slots.shape
        writes, width = given.write.slots.shape[1:]
        size = given.store.word_size
        read, write = batch_size * heads * most, batch_size * writes * width
        # One tensor of each kind, cut up: making tensors is what a step would spend its time on.
        old = batch_size * writes
        parts = given.slots.new_empty(3 * read + 2 * old + write)
        slots, rows, oldest, oldest_rows, write_slots = parts.split(
            [read, 2 * read, old, old, write]
        )
        self.rows, self.oldest_rows = rows, oldest_rows
        self.slots = slots.view(batch_size, heads, most)
        self.write_slots = write_slots.view(batch_size, writes, width)
        cosine, words, write_values = controls.new_empty(read * (1 + size) + write).split(
            [read, read * size, write]
        )
        self.cosine, self.words = cosine, words
        self.write_values = write_values.view(batch_size, writes, width)
        values = controls.new_empty(batch_size, heads, most)
        reads = controls.new_empty(batch_size, heads * size)
        self.active = given.active
        if self.active is None:
            self.active = torch.ones(batch_size, dtype=torch.bool)
        else:
            self.write_slots.copy_(given.write.slots)
            self.write_values.copy_(given.write.values)
        step = Step(
            *as_arrays(self.active, controls, given.slots.contiguous(), before.contiguous()),
            *as_arrays(oldest.view(batch_size, writes), self.write_slots, self.write_values),
            *as_arrays(self.slots, cosine.view_as(values), values),
            *as_arrays(words.view(*values.shape, size), reads),
            *as_arrays(rows.view(batch_size, 2, heads, most), oldest_rows.view(batch_size, -1)),
        )
        self._take(step, controls)
        return reads, values

    def _take(self, step: Step, controls: Tensor) -> None:
        given, order = self.given, self.given.order
        lent = self._lent(controls.dtype)
        clock = order.clock
        numbers = Numbers(given.store.memory_size, clock, given.threshold, given.least, EPS)
        while True:
            why, high = begin_step(step, lent.arrays, numbers, lent.exact)
            if why < 0:
                break
            lent.sort(clock, why)
        if why == NOT_FINITE:
            raise lent.refuse(step.controls, step.write_slots, 0)
        assert why == FINISHED
        accesses = step.slots[0].size + step.write_slots[0].size
        order.passed(clock + accesses, high=high)
        if not lent.exact:
            self._ask(step, controls)
            end_step(step, lent.arrays, numbers)

    def _ask(self, step: Step, controls: Tensor) -> None:
        """Tells an index what was written and asks it for the words to read."""
        given, size = self.given, self.given.store.word_size
        heads, most = self.slots.shape[1:]
        slots = self.write_slots.flatten(1)
        if given.active is not None:
            slots = slots.masked_fill(~given.active[:, None], -1)
        given.index.reserve(given.order.high)
        words = given.store.peek(slots, below=given.order.high)
        keys = controls.detach()[:, : heads * size].reshape(-1, heads, size)
        near = given.index.exchange(slots, words, keys, most)
        if given.active is None:
            self.slots.copy_(near.slots)
            self.cosine.view_as(near.scores).copy_(near.scores)
        else:
            mask = given.active[:, None, None]
            self.slots.copy_(torch.where(mask, near.slots, self.slots))
            self.cosine.view_as(near.scores).copy_(torch.where(mask, near.scores, 0.0))

    def _lent(self, dtype: torch.dtype) -> Lent:
        """The memory's arrays, kept from step to step while they stay the same."""
        given = self.given
        memory = given.store, given.order, given.index
        lent = given.store.buffer.lent
        high = min(given.order.high + given.order.count, given.store.memory_size)
        if lent is None or not lent.fits(*memory, high):
            lent = given.store.buffer.lent = Lent(*memory, 1, dtype)
        return lent


class _StepMemory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, controls: Tensor, before: Tensor
    ) -> tuple[Tensor, ...]:
        reads, values = run.forward(controls, before)
        kept = controls, before, run.cosine, values, run.words, run.active
        open_node(ctx, tape, (run.rows, run.oldest_rows), *kept)
        ctx.least = run.given.least
        return reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        rows, oldest_rows, controls, before, cosine, values, words, active = ctx.saved_tensors
        batch_size, heads, most = values.shape
        reads, of_values, token = grads
        if reads is None:
            reads = controls.new_zeros(batch_size, words.numel() // values.numel() * heads)
        of_values = torch.zeros_like(values) if of_values is None else of_values.clone()
        words = words.view(*values.shape, -1)
        held = words.new_empty(words.shape[3])
        at = places(ctx, 0, rows).view(batch_size, 2, heads, most)
        old = places(ctx, 1, oldest_rows).view(batch_size, -1)
        (cosine, kept_values, kept_words, p, flags, earlier) = as_arrays(
            cosine.view_as(values), values, words, controls, active, before.contiguous()
        )
        step_backward(
            StepKept(flags, p, earlier, cosine, kept_values, kept_words),
            StepBack(
                *as_arrays(at, old, reads.contiguous(), of_values.contiguous()),
                *as_arrays(ctx.tape.begin()[0], held),
            ),
            ctx.least,
            EPS,
        )
        close_node(ctx)
        return token, None, None, controls, of_values
