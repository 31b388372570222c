"""SAM's whole memory access as one operation: gated write, search, content read.

The same as `write_values`, `sparse_write`, `WordStore.read` and `content_read` one after the other,
with one node in the autograd graph instead of four, and each intermediate kept once.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import Neighbors
from sam.once_differentiable import once_differentiable
from sam.ops.content import content_backward, content_forward
from sam.ops.sparse import SparseWeights, write_values_backward, write_values_forward
from sam.store.gradient_tape import Tape, check_single_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

Find = Callable[[Tensor, Tensor], Neighbors]
"""Takes the written slots [B, M] and their new words [B, M, W]; returns the slots to read and the
cosines of their words with the keys, both [B, H, K]."""


class _Request(NamedTuple):
    """What an access is given beside the tensors that get gradients."""

    store: WordStore
    find: Find
    write_slots: Tensor  # [B, V, K + 1]
    below: int


class _Inputs(NamedTuple):
    """The tensors that get gradients."""

    before: Tensor  # w^R_{t-1} of each write head, [B, V, K]
    alpha: Tensor  # [B, V]
    gamma: Tensor  # [B, V]
    adds: Tensor  # [B, V, W]
    keys: Tensor  # [B, H, W]
    strengths: Tensor  # [B, H]


def _forward(request: _Request, given: _Inputs) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns (reads, read slots, read values, write values) and what the way back needs."""
    store, below = request.store, request.below
    size = store.word_size
    write_values = write_values_forward(given.before, given.alpha, given.gamma)
    rows = store.rows_of(request.write_slots, below)
    erased = _last_of_each_head(rows, write_values)
    store.buffer.erase_add(erased, rows, write_values, given.adds)
    # Where a head has read no word yet the slot is a pad; its weight is 0 unless somebody put
    # other weights into the state.
    store.buffer.clear_pads()
    flat = store.buffer.flat()
    written = flat.index_select(0, rows).view(len(write_values), -1, size)
    with store.buffer.changing():
        slots, cosine = request.find(request.write_slots.flatten(1), written)
    # Finite where no word was found, for the products with weight 0 on the way back.
    cosine = cosine.clamp(min=-1.0)
    read_rows = store.rows_of(slots, below)
    words = flat.index_select(0, read_rows).view(*slots.shape, size)
    reads, values = content_forward(cosine, given.strengths, words, slots < 0)
    return (reads, slots, values, write_values), (rows, read_rows, words, cosine)


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
        check_single_backward(ctx)
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
        gates = write_values_backward(given.before, given.alpha, given.gamma, grad_values)
        return (
            *(grads[-1], None, None),
            *gates,
            *(grad_adds.view(given.adds.shape), grad_keys, grad_strengths),
        )


def sparse_access(
    store: WordStore,
    find: Find,
    *,
    before: SparseWeights,
    oldest: Tensor,
    below: int,
    alpha: Tensor,
    gamma: Tensor,
    adds: Tensor,
    keys: Tensor,
    strengths: Tensor,
) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
    """Writes, then reads, as one step of SAM does (paper, eq. 3-5).

        w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I),   M = (1 - I 1^T) o M + w^W a^T
        w^R = softmax_k(beta D(q, M(s_k))),              r = sum_k w^R(k) M(s_k)

    Args:
        store: the memory; its handle is consumed.
        find: called after the write with the written slots [B, M] and their words [B, M, W];
            returns slots to read, int64 [B, H, K], -1 where there are fewer, and their cosines.
        before: w^R_{t-1} of each write head, [B, V, K].
        oldest: the least recently accessed slot of each write head, [B, V].
        below: promise that all slots are smaller.
        alpha, gamma: write and interpolation gate, [B, V].
        adds: a, [B, V, W].
        keys: q, [B, H, W].
        strengths: beta, [B, H].

    Returns:
        What was read [B, H, W], w^R, w^W without gradient, and the next handle of the store.

    Cost: O(B (H + V) K W) time beside `find`; keeps the K words of each head, its controls and
    O(B (H + V) K) numbers. The backward pass can be taken once.
    """
    slots = torch.cat([before.slots, oldest.unsqueeze(2)], 2)
    request = _Request(store, find, slots, below)
    given = _Inputs(before.values, alpha, gamma, adds, keys, strengths)
    tape, token = store.graph(*given)
    if tape is None or token is None:
        with torch.no_grad():
            reads, read_slots, values, write_values = _forward(request, given)[0]
    else:
        reads, read_slots, values, write_values, token = _Access.apply(token, tape, request, *given)  # type: ignore[misc]
    read = SparseWeights(read_slots, values)
    return reads, read, SparseWeights(slots, write_values), store.advance(tape, token)
