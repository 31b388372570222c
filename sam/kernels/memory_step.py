"""`sam.kernels.step` as an operation of autograd."""

import itertools
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from index import VectorIndex
from sam.kernels.lent import Lent
from sam.kernels.sequence import NOT_FINITE, Numbers
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


class _Sizes(NamedTuple):
    """B, H, K, V, J and W of a memory, and where its parts lie in two buffers of a step."""

    batch: int
    heads: int
    most: int
    writes: int
    width: int
    word: int

    def cut_integers(self, buffer: Any) -> tuple[Any, ...]:
        """Slots read, slots written, slots written over, rows, rows written over."""
        b, h, k, v, j, _ = self
        read, write, old = b * h * k, b * v * j, b * v
        edges = itertools.accumulate((0, read, write, old, 2 * read, old))
        parts = [buffer[lo:hi] for lo, hi in itertools.pairwise(edges)]
        shapes = (b, h, k), (b, v, j), (b, v), (b, 2, h, k), (b, v)
        return tuple(part.reshape(shape) for part, shape in zip(parts, shapes, strict=True))

    def cut_floats(self, buffer: Any) -> tuple[Any, Any, Any]:
        """Cosines, words, weights written with."""
        b, h, k, v, j, w = self
        read = b * h * k
        return (
            buffer[:read].reshape(b, h, k),
            buffer[read : read * (1 + w)].reshape(b, h, k, w),
            buffer[read * (1 + w) :].reshape(b, v, j),
        )

    @property
    def integers(self) -> int:
        return self.batch * (3 * self.heads * self.most + self.writes * (self.width + 2))

    @property
    def floats(self) -> int:
        read = self.batch * self.heads * self.most
        return read * (1 + self.word) + self.batch * self.writes * self.width


class _Run:
    """One step: its buffers, and the calls that fill them.

    There is one buffer of integers and one of floats: making tensors and arrays is what a step
    would spend most of its time on.
    """

    def __init__(self, given: Stepping) -> None:
        self.given = given
        slots, written = given.slots.shape, given.write.slots.shape
        self.sizes = sizes = _Sizes(*slots, *written[1:], given.store.word_size)
        self.integers = given.slots.new_empty(sizes.integers)
        read, write = slots.numel(), written.numel()
        self.slots = self.integers[:read].view(slots)
        self.write_slots = self.integers[read : read + write].view(written)
        self.rows = self.integers[read + write + sizes.batch * sizes.writes :]

    def forward(self, controls: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
        """r and w^R; what the way back needs is kept as attributes."""
        given, sizes = self.given, self.sizes
        self.floats = controls.new_empty(sizes.floats)
        values = controls.new_empty(given.slots.shape)
        reads = controls.new_empty(sizes.batch, sizes.heads * sizes.word)
        self.write_values = self.floats[-self.write_slots.numel() :].view(self.write_slots.shape)
        if given.active is not None:
            self.write_slots.copy_(given.write.slots)
            self.write_values.copy_(given.write.values)
        slots, write_slots, oldest, rows, oldest_rows = sizes.cut_integers(self.integers.numpy())
        cosine, words, write_values = sizes.cut_floats(self.floats.numpy())
        step = Step(
            active=_EVERY if given.active is None else given.active.numpy(),
            controls=controls.detach().numpy(),
            before=given.slots.contiguous().numpy(),
            before_values=before.detach().contiguous().numpy(),
            oldest=oldest,
            write_slots=write_slots,
            write_values=write_values,
            slots=slots,
            cosine=cosine,
            values=values.numpy(),
            words=words,
            reads=reads.numpy(),
            rows=rows,
            oldest_rows=oldest_rows,
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
        sizes = self.sizes
        accesses = sizes.heads * sizes.most + sizes.writes * sizes.width
        order.passed(clock + accesses, high=high)
        if not lent.exact:
            self._ask(step, controls)
            end_step(step, lent.arrays, numbers)

    def _ask(self, step: Step, controls: Tensor) -> None:
        """Tells an index what was written and asks it for the words to read."""
        given, sizes = self.given, self.sizes
        slots = self.write_slots.flatten(1)
        if given.active is not None:
            slots = slots.masked_fill(~given.active[:, None], -1)
        given.index.reserve(given.order.high)
        words = given.store.peek(slots, below=given.order.high)
        keys = controls.detach()[:, : sizes.heads * sizes.word]
        keys = keys.reshape(sizes.batch, sizes.heads, sizes.word)
        near = given.index.exchange(slots, words, keys, sizes.most)
        found, cosine = near.slots, near.scores
        if given.active is not None:
            mask = given.active[:, None, None]
            found = torch.where(mask, found, self.slots)
            cosine = torch.where(mask, cosine, 0.0)
        step.slots[...] = found.numpy()
        step.cosine[...] = cosine.numpy()

    def _lent(self, dtype: torch.dtype) -> Lent:
        """The memory's arrays, kept from step to step while they stay the same."""
        given = self.given
        memory = given.store, given.order, given.index
        lent = given.store.buffer.lent
        high = min(given.order.high + given.order.count, given.store.memory_size)
        if lent is None or not lent.fits(*memory, high):
            lent = given.store.buffer.lent = Lent(*memory, 1, dtype)
        return lent


_EVERY = np.ones(0, dtype=bool)  # every row takes the step


class _StepMemory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, run: _Run, controls: Tensor, before: Tensor
    ) -> tuple[Tensor, ...]:
        reads, values = run.forward(controls, before)
        ctx.least, ctx.sizes = run.given.least, run.sizes
        open_node(ctx, tape, (run.rows,), controls, before, values, run.floats, run.given.active)
        return reads, values, token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> Any:  # type: ignore[override]
        claim(ctx)
        rows, controls, before, values, floats, active = ctx.saved_tensors
        reads, of_values, token = grads
        b, h, k, v, _, w = ctx.sizes
        if reads is None:
            reads = controls.new_zeros(b, h * w)
        of_values = torch.zeros_like(values) if of_values is None else of_values.clone()
        cosine, words, _ = ctx.sizes.cut_floats(floats.numpy())
        at = places(ctx, 0, rows).numpy()
        kept = StepKept(
            active=_EVERY if active is None else active.numpy(),
            controls=controls.detach().numpy(),
            before_values=before.detach().contiguous().numpy(),
            cosine=cosine,
            values=values.detach().numpy(),
            words=words,
        )
        back = StepBack(
            places=at[: 2 * b * h * k].reshape(b, 2, h, k),
            oldest=at[2 * b * h * k :].reshape(b, v),
            reads=reads.contiguous().numpy(),
            values=of_values.numpy(),
            memory=ctx.tape.begin()[0].numpy(),
            held=np.empty(w, dtype=words.dtype),
        )
        step_backward(kept, back, ctx.least, EPS)
        close_node(ctx)
        return token, None, None, controls, of_values
