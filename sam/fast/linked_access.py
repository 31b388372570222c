"""SDNC's whole memory access as one operation: write, renew links, find, follow links, mix, read.

The same as `write_values`, `sparse_write`, `SparseLinks`, `content_read`, `mix_reads`,
`WordStore.read` and `sparse_read` one after the other, with one node in the autograd graph, as
`sam.fast.fused_access` is for SAM.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index.compiled import is_compiled
from sam.fast.fused_access import Find
from sam.once_differentiable import once_differentiable
from sam.ops.content import content_weights_backward, content_weights_forward
from sam.ops.mixing import Mixed, mix_backward, mix_forward
from sam.ops.sparse import SparseWeights, write_values_backward, write_values_forward
from sam.ops.sparse_links import SparseLinks
from sam.store.gradient_tape import Tape, check_single_backward, finish_node, grad_rows, record_node
from sam.store.word_store import WordStore

# Requests, inputs and outcomes are those of the compiled twin as well.


class Request(NamedTuple):
    """What an access is given beside the tensors that get gradients."""

    store: WordStore
    links: SparseLinks
    find: Find
    read_slots: Tensor  # of w^R_{t-1}, [B, R, K]
    oldest: Tensor  # the least recently accessed slot, [B, 1]
    write_slots: Tensor  # both go here, [B, 1, R K + 1]
    below: int
    top_k: int
    compiled: bool


class Inputs(NamedTuple):
    """The tensors that get gradients."""

    before: Tensor  # w^R_{t-1}, [B, R, K]
    alpha: Tensor  # [B, 1]
    gamma: Tensor  # [B, 1]
    adds: Tensor  # [B, 1, W]
    keys: Tensor  # [B, R, W]
    strengths: Tensor  # [B, R]
    modes: Tensor  # [B, R, 3]


class Outcome(NamedTuple):
    """What an access gives, and what its way back is to be given."""

    reads: Tensor  # r, [B, R, W]
    values: Tensor  # w^R_t, [B, R, K]
    chosen: Tensor  # its slots, [B, R, K]
    write_values: Tensor  # w^W_t, [B, 1, R K + 1]
    rows: tuple[Tensor, ...]  # touched, for `record_node`
    saved: tuple[Tensor, ...]


class _SavedForBackward(NamedTuple):
    """What the way back needs beside the inputs."""

    rows: Tensor  # written, [B (R K + 1)]
    read_rows: Tensor  # [B R K]
    found_rows: Tensor  # of the words compared with the keys, [B R K]
    write_values: Tensor  # [B, 1, R K + 1]
    words: Tensor  # read, [B, R, K, W]
    values: Tensor  # w^R_t, [B, R, K]
    found: Tensor  # words compared with the keys, [B, R, K, W]
    cosine: Tensor  # [B, R, K]
    content: Tensor  # c, [B, R, K]
    parts: Tensor  # see `Mixed`
    content_slots: Tensor
    chosen: Tensor


def _mean(before: Tensor) -> Tensor:
    """Of w^R_{t-1} over the heads, [B, 1, R K]."""
    return before.reshape(len(before), 1, -1) / before.shape[1]


def _forward(request: Request, given: Inputs) -> Outcome:
    """Writes, renews links, finds, follows links, mixes, reads."""
    store, links, below = request.store, request.links, request.below
    size, heads = store.word_size, given.before.shape[1]
    write_values = write_values_forward(_mean(given.before), given.alpha, given.gamma)
    slots = request.write_slots.squeeze(1)
    torch.cat([request.read_slots.flatten(1), request.oldest], 1, out=slots)
    rows = store.rows_of(slots, below)
    store.buffer.erase_add(_erased(rows, slots), rows, write_values, given.adds)
    # Where a head has read no word yet the slot is a pad; its weight is 0 unless somebody put
    # other weights into the state.
    store.buffer.clear_pads()
    links.update(slots, write_values.squeeze(1), below=below)
    onwards, back = links.follow(request.read_slots, given.before)
    flat = store.buffer.flat()
    written = flat.index_select(0, rows).view(*slots.shape, size)
    with store.buffer.changing():
        near, cosine = request.find(slots, written)
    # Finite where no word was found, for the products with weight 0 on the way back.
    cosine = cosine.clamp(min=-1.0)
    content = content_weights_forward(cosine, given.strengths, near < 0)
    weights = SparseWeights(near, content)
    read, mixed = mix_forward(given.modes, back, weights, onwards, request.top_k)
    found_rows, read_rows = store.rows_of(near, below), store.rows_of(read.slots, below)
    found = flat.index_select(0, found_rows).view(*near.shape, size)
    words = flat.index_select(0, read_rows)
    reads = torch.bmm(read.values.view(-1, 1, request.top_k), words.view(-1, request.top_k, size))
    words = words.view(*read.slots.shape, size)
    kept = _SavedForBackward(
        *(rows, read_rows, found_rows, write_values),
        *(words, read.values, found, cosine, content, *mixed),
    )
    return Outcome(
        *(reads.view(-1, heads, size), read.values, read.slots, write_values),
        rows=kept[:3],
        saved=(*given, *kept[3:]),
    )


def _erased(rows: Tensor, slots: Tensor) -> Tensor:
    """The least recently accessed word is the last one written to: [B]."""
    return rows.view(slots.shape[0], -1).select(1, -1)


def _backward(
    tape: Tape,
    rows: Sequence[Tensor],
    saved: Sequence[Tensor],
    grad_reads: Tensor | None,
    grad_values: Tensor | None,
) -> tuple[Tensor | None, ...]:
    """Gradients of the inputs, in their order.

    Args:
        tape: G.
        rows, saved: of the outcome; the rows as they are in G.
        grad_reads: of r, [B, R, W].
        grad_values: of w^R_t beside that, [B, R, K].
    """
    given, kept = Inputs(*saved[:7]), _SavedForBackward(*rows, *saved[7:])
    size = given.keys.shape[-1]
    grad_controls: tuple[Tensor | None, ...] = (None, None, None)
    if grad_reads is not None or grad_values is not None:
        grad_values, grad_words = _read_backward(kept, grad_reads, grad_values)
        # No need to clear pads: the gradient of a word that was not there is exactly 0.
        tape.add(kept.read_rows, grad_words.view(-1, size))
        mixed = Mixed(kept.parts, kept.content_slots, kept.chosen)
        grad_modes, grad_content = mix_backward(given.modes, mixed, grad_values)
        grad_keys, grad_strengths, grad_found = content_weights_backward(
            given.keys, given.strengths, kept.found, kept.cosine, kept.content, grad_content
        )
        tape.add(kept.found_rows, grad_found.view(-1, size))
        grad_controls = grad_keys, grad_strengths, grad_modes
    grad = tape.pop_grad(kept.rows, _erased(kept.rows, given.before))
    grad = grad.view(len(given.before), -1, size)
    grad_written = torch.bmm(grad, given.adds.transpose(1, 2)).transpose(1, 2)
    grad_adds = torch.bmm(kept.write_values, grad)
    mean = _mean(given.before)
    grad_mean, *gates = write_values_backward(mean, given.alpha, given.gamma, grad_written)
    grad_before = (grad_mean / given.before.shape[1]).view(given.before.shape)
    return (grad_before, *gates, grad_adds, *grad_controls)


class _LinkedAccess(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, token: Tensor, tape: Tape, request: Request, *given: Tensor
    ) -> tuple[Tensor, ...]:
        run, ctx.run_back = _twins(request)
        found = run(request, Inputs(*given))
        record_node(ctx, tape, found.rows, *found.saved)
        ctx.mark_non_differentiable(found.chosen, found.write_values)
        return *found[:4], token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_reads: Tensor | None, *grads: Tensor | None) -> Any:  # type: ignore[override]
        check_single_backward(ctx)
        saved, count = ctx.saved_tensors, len(ctx.starts)
        rows = [grad_rows(ctx, i, saved[i]) for i in range(count)]
        found = ctx.run_back(ctx.tape, rows, saved[count:], grad_reads, grads[0])
        finish_node(ctx)
        return (grads[-1], None, None, *found)


def _twins(request: Request) -> tuple[Callable[..., Outcome], Callable[..., Any]]:
    """Way there and way back; the compiled ones are imported only where they are used."""
    if not request.compiled:
        return _forward, _backward
    from sam.fast import linked_compiled

    return linked_compiled.forward, linked_compiled.backward


def _read_backward(
    kept: _SavedForBackward, grad_reads: Tensor | None, grad_values: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Gradients of w^R [B, R, K] and of the words read [B R, K, W]; one of those given is None."""
    words = kept.words.view(-1, *kept.words.shape[2:])
    if grad_reads is None:
        assert grad_values is not None
        return grad_values, torch.zeros_like(words)
    grad = grad_reads.reshape(-1, 1, words.shape[2])
    through = torch.bmm(words, grad.transpose(1, 2)).view(kept.values.shape)
    if grad_values is not None:
        through.add_(grad_values)
    return through, kept.values.view(*words.shape[:2], 1) * grad


def linked_access(
    store: WordStore,
    links: SparseLinks,
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
    modes: Tensor,
    top_k: int,
    compiled: bool | None = None,
) -> tuple[Tensor, SparseWeights, SparseWeights, WordStore]:
    """Writes, renews the links, then reads, as one step of SDNC does (SAM paper, supplement D.1).

        w^W = alpha (gamma mean_r w^R_{t-1} + (1 - gamma) I),   M = (1 - I 1^T) o M + w^W a^T
        c   = softmax_k(beta D(q, M(s_k))),   b = N^T w^R_{t-1},   f = N w^R_{t-1}
        w^R = the K largest of pi_1 b + pi_2 c + pi_3 f,   r = sum_k w^R(k) M(s_k)

    Args:
        store: the memory; its handle is consumed.
        links: N, P and p, changed in place.
        find: called after the write with the written slots [B, M] and their words [B, M, W];
            returns slots to compare, int64 [B, R, K], -1 where there are fewer, and their cosines.
        before: w^R_{t-1}, [B, R, K].
        oldest: the least recently accessed slot, [B, 1].
        below: promise that all slots are smaller.
        alpha, gamma: write and interpolation gate, [B, 1].
        adds: a, [B, 1, W].
        keys: q, [B, R, W].
        strengths: beta, [B, R].
        modes: pi, [B, R, 3].
        top_k: K, words to read.
        compiled: whether by the compiled twin; see `index.compiled.is_compiled`.

    Returns:
        What was read [B, R, W], w^R, w^W without gradient [B, 1, R K + 1], and the next handle.

    Cost: O(B R K W) time beside `find`, the links and the mixing; keeps the K words read and the K
    compared of each head, its controls and O(B R K) numbers. The backward pass can be taken once.
    """
    slots = oldest.new_empty(len(oldest), 1, before.slots[0].numel() + 1)
    given = Inputs(before.values, alpha, gamma, adds, keys, strengths, modes)
    rows = store.buffer.rows
    request = Request(
        *(store, links, find, before.slots, oldest, slots, below, top_k),
        is_compiled(compiled, rows.device, rows.dtype),
    )
    tape, token = store.graph(*given)
    if tape is None or token is None:
        with torch.no_grad():
            reads, values, chosen, write_values, *_ = _twins(request)[0](request, given)
    else:
        reads, values, chosen, write_values, token = _LinkedAccess.apply(  # type: ignore[misc]
            token, tape, request, *given
        )
    read, write = SparseWeights(chosen, values), SparseWeights(slots, write_values)
    return reads, read, write, store.advance(tape, token)
