"""Backward pass of SDNC's write and read; parts and calls as in `sam.fast.loops.linked_forward`.

Slots are given as the rows that they have in G = dL/dM, see `sam.store.gradient_tape.grad_rows`.
The first B rows are those of pads.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.link_mixing import content_backward, mix_backward, sharpen_backward


class BackRoom(NamedTuple):
    """What the backward pass of a head works with."""

    grad: Any  # of w^R, [K]
    grad_content: Any  # of c, [C]


@inline
def back_room(top_k, width, values):
    """Room for K words read and C compared; `values` are of their type."""
    return BackRoom(np.empty(top_k, values.dtype), np.empty(width, values.dtype))


@lean_inline
def read_head_backward(
    grad_memory,
    pads,
    read_rows,
    found_rows,
    key,
    strength,
    modes,
    words,
    found,
    cosine,
    content,
    parts,
    values,
    grad_reads,
    grad_values,
    room,
    grad_key,
    grad_modes,
    eps,
    sharpening,
):
    """The backward pass of `read_head`: adds to G, makes the gradients of q and pi.

    Args:
        grad_memory: G by row, changed in place, [rows, W].
        pads: rows below are those of no word.
        read_rows, found_rows: in G, [K] and [C].
        key, strength, modes: as `read_head` was given them.
        words, found, cosine, content, parts, values: as it made them.
        grad_reads: of r, [W].
        grad_values: of w^R beside that, [K].
        room: see `back_room`.
        grad_key, grad_modes: go here.
        eps: of the lengths.
        sharpening: as `read_head` was given it.

    Returns the gradient of the strength.
    """
    grad, grad_content = room
    size = len(key)
    for k in range(len(grad)):
        word, value, total = words[k], values[k], grad_values[k]
        row = grad_memory[read_rows[k]]
        for i in range(size):
            total += word[i] * grad_reads[i]
            row[i] += value * grad_reads[i]
        grad[k] = total
    if sharpening > 0:
        sharpen_backward(modes, parts, values, sharpening, grad)
    mix_backward(modes, parts, found_rows, read_rows, pads, grad, grad_modes, grad_content)
    return content_backward(
        *(key, strength, found, cosine, content, grad_content, grad_key),
        *(grad_memory, found_rows, eps),
    )


@lean_inline
def write_row_backward(
    grad_memory, prev_rows, lru_row, prev, add, alpha, gamma, grad_prev, grad_add
):
    """The backward pass of `write_row`: takes G of the words written, clears that of the erased.

    Args:
        grad_memory: G by row, changed in place, [rows, W].
        prev_rows: of the words written again, in G, [R, K].
        lru_row: of the word that was erased.
        prev: w^R_{t-1}, [R, K].
        add: a, [W].
        alpha, gamma: gates.
        grad_prev, grad_add: go here.

    Returns the gradients of alpha and gamma.
    """
    (heads, width), size = prev.shape, len(add)
    zero, share = prev.dtype.type(0), prev.dtype.type(1) / prev.dtype.type(heads)
    again = alpha * gamma
    spread, new, value = zero, zero, alpha - again
    word = grad_memory[lru_row]
    for i in range(size):
        new += word[i] * add[i]
    for i in range(size):
        grad_add[i] = value * word[i]
    for r in range(heads):
        for k in range(width):
            word, value, total = grad_memory[prev_rows[r, k]], prev[r, k] * share * again, zero
            for i in range(size):
                total += word[i] * add[i]
            for i in range(size):
                grad_add[i] += value * word[i]
            spread += total * prev[r, k] * share
            grad_prev[r, k] = total * again * share
    word = grad_memory[lru_row]
    for i in range(size):
        word[i] = 0
    spread -= new
    return new + spread * gamma, spread * alpha


@jit
def read_backward(
    grad_memory,
    read_rows,
    found_rows,
    keys,
    strengths,
    modes,
    words,
    found,
    cosine,
    content,
    parts,
    values,
    grad_reads,
    grad_values,
    grad_keys,
    grad_strengths,
    grad_modes,
    eps,
    sharpening,
):
    """`read_head_backward` for all heads; shapes as there with [B, R, ...] before them.

    Args:
        read_rows, found_rows: in G, [B R K] and [B R C].
        grad_keys, grad_strengths, grad_modes: go here.
    """
    batch_size, heads, width = content.shape
    top_k = values.shape[2]
    room = back_room(top_k, width, values)
    for b in range(batch_size):
        for r in range(heads):
            head = b * heads + r
            grad_strengths[b, r] = read_head_backward(
                *(grad_memory, batch_size, read_rows[head * top_k : (head + 1) * top_k]),
                *(found_rows[head * width : (head + 1) * width], keys[b, r], strengths[b, r]),
                *(modes[b, r], words[b, r], found[b, r], cosine[b, r], content[b, r], parts[b, r]),
                *(values[b, r], grad_reads[b, r], grad_values[b, r], room, grad_keys[b, r]),
                *(grad_modes[b, r], eps, sharpening),
            )


@jit
def write_backward(
    grad_memory,
    rows,
    prev,
    alpha,
    gamma,
    adds,
    grad_prev,
    grad_alpha,
    grad_gamma,
    grad_adds,
):
    """`write_row_backward` for all batch rows.

    Args:
        grad_memory: G by row, changed in place, [rows, W].
        rows: written, in G, [B (R K + 1)]; the erased word comes last.
        prev: w^R_{t-1}, [B, R, K].
        alpha, gamma: [B, 1].
        adds: a, [B, 1, W].
        grad_prev, grad_alpha, grad_gamma, grad_adds: go here.
    """
    batch_size, heads, width = prev.shape
    count = heads * width
    for b in range(batch_size):
        first = b * (count + 1)
        grad_alpha[b, 0], grad_gamma[b, 0] = write_row_backward(
            *(grad_memory, rows[first : first + count].reshape(heads, width)),
            *(rows[first + count], prev[b], adds[b, 0], alpha[b, 0], gamma[b, 0]),
            *(grad_prev[b], grad_adds[b, 0]),
        )
