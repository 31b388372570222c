"""Backward pass of `sam.fast.linked_step`; parts as in `sam.fast.loops.linked_forward`."""

import numpy as np

from index.compiled import jit
from sam.fast.loops.link_mixing import content_backward, mix_backward


@jit
def read_backward(
    grad_memory,
    read_rows,
    found_rows,
    keys,
    strengths,
    modes,
    near,
    words,
    found,
    cosine,
    content,
    parts,
    values,
    chosen,
    grad_reads,
    grad_values,
    grad_keys,
    grad_strengths,
    grad_modes,
    eps,
):
    """The backward pass of `read`: adds to G = dL/dM, makes the gradients of q, beta and pi.

    Args:
        grad_memory: G by row, changed in place, [rows, W].
        read_rows, found_rows: in G, [B R K] and [B R C].
        keys, strengths, modes, near: as `read` was given them.
        words, found, cosine, content, parts, values, chosen: as `read` made them.
        grad_reads: of r, [B, R, W].
        grad_values: of w^R beside that, [B, R, K].
        grad_keys, grad_strengths, grad_modes: go here.
        eps: of the lengths.
    """
    batch_size, heads, width = near.shape
    top_k, size = chosen.shape[2], grad_memory.shape[1]
    grad, grad_content = np.empty(top_k, values.dtype), np.empty(width, values.dtype)
    grad_found = np.empty((width, size), values.dtype)
    for b in range(batch_size):
        for r in range(heads):
            head, along = b * heads + r, grad_reads[b, r]
            for k in range(top_k):
                word, value, total = words[b, r, k], values[b, r, k], grad_values[b, r, k]
                row = grad_memory[read_rows[head * top_k + k]]
                for i in range(size):
                    total += word[i] * along[i]
                    row[i] += value * along[i]
                grad[k] = total
            mix_backward(
                *(modes[b, r], parts[b, r], near[b, r], chosen[b, r]),
                *(grad, grad_modes[b, r], grad_content),
            )
            grad_strengths[b, r] = content_backward(
                *(keys[b, r], strengths[b, r], found[b, r], cosine[b, r], content[b, r]),
                *(grad_content, grad_keys[b, r], grad_found, eps),
            )
            for k in range(width):
                row, word = grad_memory[found_rows[head * width + k]], grad_found[k]
                for i in range(size):
                    row[i] += word[i]


@jit
def write_backward(
    grad_memory,
    rows,
    prev,
    alpha,
    gamma,
    adds,
    values,
    grad_prev,
    grad_alpha,
    grad_gamma,
    grad_adds,
):
    """The backward pass of `write`: takes G of the words written, then clears that of those erased.

    Args:
        grad_memory: G by row, changed in place, [rows, W].
        rows: written, in G, [B (R K + 1)].
        prev: w^R_{t-1}, [B, R, K].
        alpha, gamma: [B, 1].
        adds: a, [B, 1, W].
        values: w^W, [B, 1, R K + 1].
        grad_prev, grad_alpha, grad_gamma, grad_adds: go here.
    """
    batch_size, heads, width = prev.shape
    count, size = heads * width, adds.shape[2]
    zero, share = prev.dtype.type(0), prev.dtype.type(1) / prev.dtype.type(heads)
    for b in range(batch_size):
        again = alpha[b, 0] * gamma[b, 0]
        add, grad_add, first = adds[b, 0], grad_adds[b, 0], b * (count + 1)
        grad_add[:] = zero
        spread, total = zero, zero
        for j in range(count + 1):
            word, value, total = grad_memory[rows[first + j]], values[b, 0, j], zero
            for i in range(size):
                total += word[i] * add[i]
                grad_add[i] += value * word[i]
            if j < count:
                r, k = j // width, j % width
                spread += total * prev[b, r, k] * share
                grad_prev[b, r, k] = total * again * share
        # The last one is the least recently accessed word, which was erased.
        grad_memory[rows[first + count], :] = zero
        spread -= total
        grad_alpha[b, 0] = total + spread * gamma[b, 0]
        grad_gamma[b, 0] = spread * alpha[b, 0]
