"""SAM's memory access for one batch row, backward; the equations of `sam.ops.content` and
`sam.ops.sparse`. The controls become their gradients in place, with respect to what was squashed.

Slots are given as the rows that they have in G = dL/dM, see `sam.store.gradient_tape.grad_rows`.
"""

from typing import Any

import numpy as np

from index.compiled import lean_inline
from sam.fast.loops.numerics import exp, number


@lean_inline
def read_backward(
    p: Any,
    rows: Any,
    cosine: Any,
    values: Any,
    words: Any,
    grad_reads: Any,
    grad_values: Any,
    grad: Any,
    room: Any,
    min_strength: float,
    eps: float,
) -> None:
    """Through the read: adds to G; keys and strengths in `p` become their gradients.

    Args:
        p: squashed controls.
        rows: of the words read, [H, K].
        cosine, values: D and w^R, [H, K].
        words: [H, K, W].
        grad_reads: of r, [H W].
        grad_values: of w^R, [H, K].
        grad: G; changed.
        room: W numbers to use.
        min_strength: of the strengths' activation.
        eps: of the lengths.
    """
    heads, top_k = rows.shape
    size = words.shape[2]
    one = number(p[0], 1.0)
    for head in range(heads):
        start = head * size
        key, grad_read = p[start : start + size], grad_reads[start : start + size]
        mean, square = number(p[0], 0.0), number(p[0], eps)
        for j in range(size):
            square += key[j] * key[j]
            room[j] = 0
        key_scale = one / np.sqrt(square)
        for k in range(top_k):
            inner, word = grad_values[head, k], words[head, k]
            for j in range(size):
                inner += word[j] * grad_read[j]
            grad_values[head, k] = inner
            mean += inner * values[head, k]
        strength, grad_strength = p[len(p) - heads + head], number(p[0], 0.0)
        for k in range(top_k):
            value = values[head, k]
            delta = value * (grad_values[head, k] - mean)
            grad_strength += delta * cosine[head, k]
            square, word, of_row = number(p[0], eps), words[head, k], grad[rows[head, k]]
            for j in range(size):
                square += word[j] * word[j]
            scale = one / np.sqrt(square)
            scaled = delta * strength * scale
            of_key, of_word = scaled * key_scale, scaled * cosine[head, k] * scale
            for j in range(size):
                room[j] += scaled * word[j]
            for j in range(size):
                of_row[j] += value * grad_read[j] + of_key * key[j] - of_word * word[j]
        along = strength * grad_strength * key_scale * key_scale
        for j in range(size):
            key[j] = key_scale * room[j] - along * key[j]
        p[len(p) - heads + head] = grad_strength * (
            one - exp(number(p[0], min_strength) - strength)
        )


@lean_inline
def write_backward(
    p: Any, prev_values: Any, prev: Any, lru: Any, grad_prev: Any, grad: Any, room: Any
) -> None:
    """Through the write: G of what was erased becomes 0; the rest of `p` becomes its gradient.

    Args:
        p: squashed controls, but for keys and strengths.
        prev_values: w^R_{t-1}, [H, K].
        prev: rows of its words, [H, K].
        lru: rows of the words erased, [V].
        grad_prev: where the gradient of w^R_{t-1} goes, [H, K].
        grad: G; changed.
        room: W numbers to use.
    """
    heads, count = prev.shape
    writes, size = len(lru), len(room)
    width = heads * count // writes
    gates = (heads + writes) * size
    share, one = number(p[0], writes / heads), number(p[0], 1.0)
    for v in range(writes):
        start = (heads + v) * size
        add, of_last = p[start : start + size], grad[lru[v]]
        alpha, gamma = p[gates + v], p[gates + writes + v]
        again = alpha * gamma
        new, value = number(p[0], 0.0), alpha - again
        for j in range(size):
            new += of_last[j] * add[j]
        for j in range(size):
            room[j] = value * of_last[j]
        spread = -new
        for k in range(width):
            head, place = (v * width + k) // count, (v * width + k) % count
            mean, inner = share * prev_values[head, place], one - one
            value, of_row = again * mean, grad[prev[head, place]]
            for j in range(size):
                inner += of_row[j] * add[j]
            for j in range(size):
                room[j] += value * of_row[j]
            spread += inner * mean
            grad_prev[head, place] = inner * again * share
        for j in range(size):
            add[j] = room[j]
        p[gates + v] = (new + spread * gamma) * alpha * (one - alpha)
        p[gates + writes + v] = spread * alpha * gamma * (one - gamma)
    for v in range(writes):
        of_last = grad[lru[v]]
        for j in range(size):
            of_last[j] = 0
