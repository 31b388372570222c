"""SDNC's step as one operation of autograd: write, renew links, find, follow links, mix, read.

The compiled form of `SDNCMemory.step`. It gives the loops of `sam.fast.loops` their arrays and
imports numba, so it is imported where compiled forms are known to be used. The loops do not look
where they read and write: shapes, dtypes and slots are checked before.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.fast import compiled_links
from sam.fast.loops import linked_backward, linked_forward
from sam.memory.sdnc import SDNCControls, SDNCMemory, SDNCState
from sam.memory.sparse_steps import StepStart, begin_step, end_step, find_nearest
from sam.once_differentiable import once_differentiable
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

Shape = tuple[int, ...]


class _Request(NamedTuple):
    """What the op is given beside the tensors that get gradients."""

    memory: SDNCMemory
    state: SDNCState
    read_slots: Tensor  # of w^R_{t-1}, [B, R, K]
    lru_slots: Tensor  # [B, 1]


class _Inputs(NamedTuple):
    """The tensors that get gradients."""

    prev: Tensor  # w^R_{t-1}, [B, R, K]
    alpha: Tensor  # [B, 1]
    gamma: Tensor  # [B, 1]
    adds: Tensor  # [B, 1, W]
    keys: Tensor  # [B, R, W]
    strengths: Tensor  # [B, R]
    modes: Tensor  # [B, R, 3]


class _Outcome(NamedTuple):
    """What the op gives, and what its backward pass is to be given."""

    reads: Tensor  # r, [B, R, W]
    values: Tensor  # w^R_t, [B, R, K]
    chosen: Tensor  # its slots, [B, R, K]
    write_values: Tensor  # w^W_t, [B, 1, R K + 1]
    write_slots: Tensor  # its slots, [B, 1, R K + 1]
    rows: tuple[Tensor, ...]  # touched, for `record_node`
    saved: tuple[Tensor, ...]


def linked_step(
    memory: SDNCMemory, controls: SDNCControls, state: SDNCState, active: Tensor | None = None
) -> tuple[Tensor, SDNCState]:
    """`SDNCMemory.step`; the same results to rounding, the same errors.

    Cost: O(B R K W) time beside the index, the links and the mixing; keeps the K words read and the
    K compared of each head, its controls and O(B R K) numbers. The backward pass can be taken once.
    """
    start = begin_step(memory, controls, state, active)
    reads, read, write, words = linked_access(memory, controls, state, start)
    return reads, end_step(memory, state, words, read, write, active)


def linked_access(
    memory: SDNCMemory, controls: SDNCControls, state: SDNCState, start: StepStart
) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
    """What `linked_step` does between `begin_step` and `end_step`.

    Returns r, w^R, w^W without gradient, and the next handle of the store.
    """
    prev, lru_slots, write_gates = start
    strengths = controls.strengths
    if strengths is None:
        strengths = torch.ones_like(controls.keys[..., 0])
    given = _Inputs(
        *(prev.values, write_gates, controls.interpolation_gates, controls.adds),
        *(controls.keys, strengths, controls.modes),
    )
    request = _Request(memory, state, prev.slots, lru_slots)
    tape, token = state.words.graph(*given)
    if tape is None or token is None:
        with torch.no_grad():
            reads, values, chosen, write_values, write_slots, *_ = _forward(request, given)
    else:
        reads, values, chosen, write_values, write_slots, token = _LinkedStep.apply(  # type: ignore[misc]
            token, tape, request, *given
        )
    read, write = SparseWeights(chosen, values), SparseWeights(write_slots, write_values)
    return reads, read, write, state.words.advance(tape, token)


class _LinkedStep(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, request: _Request, *given: Tensor
    ) -> tuple[Tensor, ...]:
        found = _forward(request, _Inputs(*given))
        record_node(ctx, tape, found.rows, *found.saved)
        ctx.sharpening = float(request.memory.read_sharpening or 0)
        ctx.mark_non_differentiable(found.chosen, found.write_values, found.write_slots)
        return *found[:5], token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor | None, *grads: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        saved, count = ctx.saved_tensors, len(ctx.starts)
        rows = [grad_rows(ctx, i, saved[i]) for i in range(count)]
        found = _backward(ctx.tape, rows, saved[count:], grad_reads, grads[0], ctx.sharpening)
        finish_node(ctx)
        return (grads[-1], None, None, *found)


def _packed(tensor: Tensor) -> Tensor:
    """The same numbers without a graph and without gaps."""
    return tensor.detach().contiguous()


def _check_found(name: str, tensor: Tensor, shape: Shape, dtype: torch.dtype) -> None:
    if tensor.shape != shape or tensor.dtype != dtype:
        raise ShapeError(
            f"{name} found: expected {dtype} of shape {[*shape]}, "
            f"got {tensor.dtype} of shape {[*tensor.shape]}"
        )


def _check_slots(name: str, right: bool, slot_bound: int) -> None:
    if not right:
        raise ShapeError(f"{name}: expected slots in [-1, {slot_bound}), got one that is not")


def _cut(block: np.ndarray, shapes: Sequence[Shape]) -> list[np.ndarray]:
    """Arrays of these shapes, one after the other in one piece of memory."""
    cut, start = [], 0
    for shape in shapes:
        stop = start + math.prod(shape)
        cut.append(block[start:stop].reshape(shape))
        start = stop
    return cut


def _saved_shapes(per_head: Shape, top_k: int, width: int, size: int) -> tuple[Shape, ...]:
    """Of what a read keeps in one piece: words read and compared, cosines, c, and b, c and f.

    Args:
        per_head: B and R.
        top_k: K, words read.
        width: words compared.
        size: W.
    """
    found = (*per_head, width)
    return (*per_head, top_k, size), (*found, size), found, found, (*per_head, 3, top_k)


def _forward(request: _Request, given: _Inputs) -> _Outcome:
    """Writes, renews links, finds, follows links, mixes, reads.

    Raises:
        ShapeError: a slot is out of range, or the index returned something else than it should.
    """
    (store, _, _, order, _, links), top_k = request.state, request.memory.top_k
    slot_bound = order.slot_bound
    if slot_bound > store.capacity:
        store.buffer.grow(slot_bound, store.memory_size)
    links.reserve(slot_bound)
    slot_bound, memory = min(slot_bound, store.capacity), store.buffer.rows
    batch_size, size = store.batch_size, store.word_size
    heads, count = given.prev.shape[1:]
    width, gate, per_head = heads * count + 1, (batch_size, 1), (batch_size, heads)
    given = _Inputs(*map(_packed, given))
    values, alpha, gamma, adds, _, strengths, modes = (tensor.numpy() for tensor in given)
    read_slots, lru_slots = _packed(request.read_slots).numpy(), _packed(request.lru_slots).numpy()
    words, real, whole = memory.numpy(), values.dtype, read_slots.dtype

    write_values, write_rows = np.empty((*gate, width), real), np.empty(batch_size * width, whole)
    written, write_slots = (
        np.empty((batch_size, width, size), real),
        np.empty((*gate, width), whole),
    )
    right = linked_forward.write(
        *(words, slot_bound, values, read_slots, lru_slots, alpha, gamma, adds),
        *(write_slots, write_values, write_rows, written),
    )
    _check_slots("state.read_weights.slots", right, slot_bound)
    store.buffer.note(given.adds)
    slots = torch.from_numpy(write_slots)
    with store.buffer.changing():
        compiled_links.update(links, write_slots[:, 0], write_values[:, 0])
        words_written = torch.from_numpy(written)
        near, cosine = find_nearest(request.state, slots[:, 0], words_written, given.keys, top_k)
        found = *per_head, near.shape[-1]
        _check_found("slots", near, found, torch.int64)
        _check_found("cosines", cosine, found, memory.dtype)
        near, cosine = _packed(near), _packed(cosine).numpy()
        # Words of a base may have come to a larger buffer.
        words, slot_bound = store.buffer.rows.numpy(), store.capacity
        reads, read = np.empty((*per_head, size), real), np.empty((*per_head, top_k), real)
        shapes = _saved_shapes(per_head, top_k, found[2], size)
        kept = np.empty(sum(map(math.prod, shapes)), real)
        rows = np.empty(batch_size * heads * (top_k + found[2]), whole)
        chosen = np.empty(read.shape, whole)
        right = linked_forward.read(
            *(
                *(words, slot_bound, near.numpy(), cosine, strengths, modes),
                *(links.table.arrays(), read_slots, values),
                *_cut(rows, [(chosen.size,), (near.numel(),)]),
                *(*_cut(kept, shapes), reads, read, chosen),
                float(request.memory.read_sharpening or 0),
            )
        )
        _check_slots("slots found", right, slot_bound)
    results = torch.from_numpy(read), torch.from_numpy(chosen), torch.from_numpy(write_values)
    return _Outcome(
        torch.from_numpy(reads),
        *(*results, slots),
        rows=(torch.from_numpy(write_rows), torch.from_numpy(rows)),
        saved=(*given, torch.from_numpy(kept), results[0]),
    )


def _backward(
    tape: Tape,
    rows: Sequence[Tensor],
    saved: Sequence[Tensor],
    grad_reads: Tensor | None,
    grad_values: Tensor | None,
    sharpening: float,
) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs, in their order.

    Args:
        tape: G.
        rows, saved: of the outcome; the rows as they are in G.
        grad_reads: of r, [B, R, W].
        grad_values: of w^R_t beside that, [B, R, K].
        sharpening: what the weights were sharpened by; 0 where they were not.
    """
    grad_memory = tape.begin()[0].numpy()
    write_rows, rows_read = (part.numpy() for part in rows)
    values, alpha, gamma, adds, *controls = (tensor.numpy() for tensor in saved[:7])
    kept, read = saved[7:]
    grad_controls: tuple[Tensor | None, ...] = (None, None, None)
    if grad_reads is not None or grad_values is not None:
        grad_reads = torch.zeros_like(saved[4]) if grad_reads is None else grad_reads
        grad_values = torch.zeros_like(read) if grad_values is None else grad_values
        made = [np.empty_like(array) for array in controls]
        found = len(rows_read) - read.numel()
        *per_head, top_k = read.shape
        width = found // max(math.prod(per_head), 1)
        shapes = _saved_shapes((*per_head,), top_k, width, adds.shape[2])
        linked_backward.read_backward(
            *(
                *(grad_memory, *_cut(rows_read, [(read.numel(),), (found,)]), *controls),
                *(*_cut(kept.numpy(), shapes), read.numpy()),
                *(grad_reads.contiguous().numpy(), grad_values.contiguous().numpy(), *made, EPS),
                sharpening,
            )
        )
        grad_controls = tuple(map(torch.from_numpy, made))
    made = [np.empty_like(array) for array in (values, alpha, gamma, adds)]
    linked_backward.write_backward(*(grad_memory, write_rows, values, alpha, gamma, adds, *made))
    return (*map(torch.from_numpy, made), *grad_controls)
