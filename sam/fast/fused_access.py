"""SAM's step in torch as one operation of autograd: gated write, search, content read.

For where no compiled form is to be had: on a GPU, in float64, without numba. One node of the graph
takes the place of that of each op in `SAMMemory.step`, and each intermediate is kept once. Measured
over 2^20 words, forward and backward, it makes the step 1.24, 1.29 and 1.63 times as fast at batch
1, 8 and 64, so it stays. (The same for SDNC came to 1.09, 0.77 and 1.02, and was dropped.)
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMControls, SAMState
from sam.memory.sparse_steps import StepStart, begin_step, end_step, find_nearest
from sam.once_differentiable import once_differentiable
from sam.ops.content import content_backward, content_forward
from sam.ops.sparse import SparseWeights, write_values, write_values_backward
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore


class _Request(NamedTuple):
    """What the op is given beside the tensors that get gradients."""

    memory: SAMMemory
    state: SAMState
    write_slots: Tensor  # [B, V, J]
    slot_bound: int  # all slots are smaller


class _Inputs(NamedTuple):
    """The tensors that get gradients."""

    prev: Tensor  # w^R_{t-1} of each write head, [B, V, J - 1]
    alpha: Tensor  # [B, V]
    gamma: Tensor  # [B, V]
    adds: Tensor  # [B, V, W]
    keys: Tensor  # [B, H, W]
    strengths: Tensor  # [B, H]


def _forward(request: _Request, given: _Inputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns (reads, read slots, read values, write values) and what the backward pass needs."""
    store, slot_bound = request.state.words, request.slot_bound
    size = store.word_size
    weights = write_values(given.prev, given.alpha, given.gamma)
    rows = store.rows_of(request.write_slots, slot_bound)
    erased = _last_of_each_head(rows, weights)
    store.buffer.erase_add(erased, rows, weights, given.adds)
    flat = store.buffer.flat()
    written = flat.index_select(0, rows).view(len(weights), -1, size)
    with store.buffer.changing():
        write_slots, top_k = request.write_slots.flatten(1), request.memory.top_k
        slots, cosine = find_nearest(request.state, write_slots, written, given.keys, top_k)
    # Finite where no word was found, for the products with weight 0 in the backward pass.
    cosine = cosine.clamp(min=-1.0)
    read_rows = store.rows_of(slots, slot_bound)
    # Words of a base may have come to a larger buffer.
    words = store.buffer.flat().index_select(0, read_rows).view(*slots.shape, size)
    reads, values = content_forward(cosine, given.strengths, words, slots < 0)
    return (reads, slots, values, weights), (rows, read_rows, words, cosine)


def _last_of_each_head(rows: Tensor, write_values: Tensor) -> Tensor:
    """The least recently accessed word is the last one that a head writes to: [B V]."""
    return rows.view(-1, write_values.shape[2]).select(1, -1)


class _Access(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, request: _Request, *given: Tensor
    ) -> tuple[Tensor, ...]:
        results, saved = _forward(request, _Inputs(*given))
        rows, read_rows, *kept = saved
        record_node(ctx, tape, (rows, read_rows), *given, results[2], results[3], *kept)
        ctx.mark_non_differentiable(results[1], results[3])
        return (*results, token.new_empty(()))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor | None, *grads: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        tensors = ctx.saved_tensors
        given = _Inputs(*tensors[2:8])
        values, write_values, words, cosine = tensors[8:]
        rows, read_rows = grad_rows(ctx, 0, tensors[0]), grad_rows(ctx, 1, tensors[1])
        grad_keys = grad_strengths = None
        if grad_reads is not None or grads[1] is not None:
            grad_reads = torch.zeros_like(given.keys) if grad_reads is None else grad_reads
            grad_keys, grad_strengths, grad_words = content_backward(
                given.keys, given.strengths, words, cosine, values, grad_reads, grads[1]
            )
            # No need to clear pads: the gradient of a word that was not there is exactly 0.
            ctx.tape.add(read_rows, grad_words.view(-1, words.shape[-1]))
        erased = _last_of_each_head(rows, write_values)
        grad = ctx.tape.pop_grad(rows, erased).view(-1, write_values.shape[2], words.shape[-1])
        finish_node(ctx)
        adds = given.adds.reshape(len(grad), -1, 1)
        grad_values = torch.bmm(grad, adds).view(write_values.shape)
        grad_adds = torch.bmm(write_values.view(len(grad), 1, -1), grad)
        gates = write_values_backward(given.prev, given.alpha, given.gamma, grad_values)
        return (
            *(grads[-1], None, None),
            *gates,
            *(grad_adds.view(given.adds.shape), grad_keys, grad_strengths),
        )


def is_fusible(memory: SAMMemory) -> bool:
    """Whether `fused_step` covers the options of a memory."""
    return memory.similarity == "cosine" and memory.renormalise and memory.strength != "none"


def has_current_shapes(memory: SAMMemory, state: SAMState) -> bool:
    """Whether the last step read and wrote as many words as these settings say.

    After one with another `top_k` it did not, and the compiled loops cannot go on from it. The
    first step then still writes where that one has read, so it takes two steps of another form.
    """
    read, write = state.read_weights.slots, state.write_weights.slots
    return read.shape[2] == memory.top_k and write.shape[2] == memory.num_write_slots


def fused_step(
    memory: SAMMemory, controls: SAMControls, state: SAMState, active: Tensor | None = None
) -> tuple[Tensor, SAMState]:
    """`SAMMemory.step` for a memory that `is_fusible`, as one operation; the same results.

    Cost: O(B (H + V) K W) time beside the index; keeps the K words of each head, its controls and
    O(B (H + V) K) numbers. The backward pass can be taken once.
    """
    start = begin_step(memory, controls, state, active)
    reads, read, write, words = fused_access(memory, controls, state, start)
    return reads, end_step(memory, state, words, read, write, active)


def fused_access(
    memory: SAMMemory, controls: SAMControls, state: SAMState, start: StepStart
) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
    """What `fused_step` does between `begin_step` and `end_step`.

    Returns r, w^R, w^W without gradient, and the next handle of the store.
    """
    prev_read, lru_slots, write_gates = start
    prev, store = memory.write_head_weights(prev_read), state.words
    slots = torch.cat([prev.slots, lru_slots.unsqueeze(2)], 2)
    request = _Request(memory, state, slots, state.order.slot_bound)
    strengths = controls.strengths
    if strengths is None:
        raise ShapeError("controls.strengths: expected shape [B, H], got None")
    given = _Inputs(
        *(prev.values, write_gates, controls.interpolation_gates, controls.adds),
        *(controls.keys, strengths),
    )
    tape, token = store.graph(*given)
    if tape is None or token is None:
        with torch.no_grad():
            reads, read_slots, values, write_values = _forward(request, given)[0]
    else:
        reads, read_slots, values, write_values, token = _Access.apply(token, tape, request, *given)  # type: ignore[misc]
    read, write = SparseWeights(read_slots, values), SparseWeights(slots, write_values)
    return reads, read, write, store.advance(tape, token)
