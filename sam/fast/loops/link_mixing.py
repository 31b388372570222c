"""Content weights and the mixing of read modes for one read head, forward and back.

Parts of a step of SDNC, see `sam.fast.loops.linked_forward`. The equations are those of
`sam.ops.content`, `sam.ops.mixing` and `sam.ops.sharpening`. A gamma of 0 stands for no sharpening.
"""

import math

from index.compiled import lean_inline
from sam.fast.loops.numerics import number


@lean_inline
def softmax(cosine, strength, slots, values):
    """w = softmax_k(beta D) over the words that exist, 0 for the others."""
    zero = values.dtype.type(0)
    highest = values.dtype.type(-math.inf)
    for k in range(len(slots)):
        if slots[k] >= 0:
            highest = max(highest, cosine[k] * strength)
    total = zero
    for k in range(len(slots)):
        values[k] = math.exp(cosine[k] * strength - highest) if slots[k] >= 0 else zero
        total += values[k]
    for k in range(len(slots)):
        values[k] = values[k] / total if slots[k] >= 0 else zero


@lean_inline
def choose(mixed, known, different, values, places):
    """The K largest of the mixed weights; of equal ones those of the lower slot.

    Args:
        mixed, known, different: see `slot_sums`.
        values: w^R goes here, from the largest on, [K].
        places: which entries they are goes here, [K].

    Returns how many are above 0.
    """
    length, most = 0, len(values)
    for i in range(different):
        value = mixed[i]
        full = length == most
        if value <= 0 or (full and value < values[most - 1]):
            continue
        at = most - 1 if full else length
        if full and value == values[at] and known[i] > known[places[at]]:
            continue
        while at > 0 and (
            values[at - 1] < value or (values[at - 1] == value and known[places[at - 1]] > known[i])
        ):
            values[at], places[at] = values[at - 1], places[at - 1]
            at -= 1
        values[at], places[at] = value, i
        length = min(length + 1, most)
    return length


@lean_inline
def _power(value, gamma):
    """value^gamma; a square is a product, as in torch."""
    if gamma == 1:
        return value
    if gamma == 0:
        return number(value, 1.0)
    if gamma == 2:
        return value * value
    return number(value, math.pow(value, gamma))


@lean_inline
def sharpen(values, length, gamma):
    """w = m^gamma / sum m^gamma, in place, for the first `length` of m, which fall.

    Returns how many are above 0.
    """
    if length == 0:
        return 0
    highest, total, left = values[0], number(values[0], 0.0), 0
    for k in range(length):
        values[k] = _power(values[k] / highest, gamma)
        total += values[k]
    for k in range(length):
        values[k] /= total
        left += values[k] > 0
    return left


@lean_inline
def sharpen_backward(modes, parts, values, gamma, grad):
    """dL/dm from dL/dw, in place: gamma m_k^(gamma - 1) / sum m^gamma (g_k - sum_j w_j g_j).

    Args:
        modes: pi, [3].
        parts: b, c and f, of which m is the mix, [3, K].
        values: w, from the largest on, [K].
        gamma: the power.
        grad: dL/dw, then dL/dm, [K].
    """
    if values[0] == 0:
        return
    zero = number(values[0], 0.0)
    highest = modes[0] * parts[0, 0] + modes[1] * parts[1, 0] + modes[2] * parts[2, 0]
    inner, total = zero, zero
    for k in range(len(values)):
        mixed = modes[0] * parts[0, k] + modes[1] * parts[1, k] + modes[2] * parts[2, k]
        inner += values[k] * grad[k]
        total += _power(mixed / highest, gamma)
    scale = number(zero, gamma) / (total * highest)
    for k in range(len(values)):
        mixed = modes[0] * parts[0, k] + modes[1] * parts[1, k] + modes[2] * parts[2, k]
        slope = scale * _power(mixed / highest, gamma - 1) if values[k] > 0 else zero
        grad[k] = slope * (grad[k] - inner)


@lean_inline
def mix_backward(modes, parts, content_rows, chosen, pads, grad, grad_modes, grad_content):
    """Gradients of pi and c from that of w^R at the chosen words.

    Args:
        modes: pi, [3].
        parts: b, c and f at the chosen words, [3, K].
        content_rows: of the words of c, each its own, [C].
        chosen: rows of the words chosen, [K].
        pads: rows below are those of no word.
        grad: of w^R, [K].
        grad_modes: goes here, [3].
        grad_content: goes here, [C].
    """
    zero = grad.dtype.type(0)
    for part in range(3):
        total = zero
        for k in range(len(chosen)):
            if chosen[k] >= pads:
                total += parts[part, k] * grad[k]
        grad_modes[part] = total
    for i in range(len(content_rows)):
        total = zero
        for k in range(len(chosen)):
            if chosen[k] == content_rows[i]:
                total += grad[k]
        grad_content[i] = modes[1] * total


@lean_inline
def content_backward(key, strength, words, cosine, values, grad, grad_key, grad_memory, rows, eps):
    """Gradients of key, strength and words from that of c; the equations of `sam.ops.content`.

    Args:
        key: q, [W].
        strength: beta.
        words: [C, W].
        cosine: D, [C].
        values: c, 0 where there is no word, [C].
        grad: of c, [C].
        grad_key: goes here, [W].
        grad_memory: G by row; that of the words is added, [.., W].
        rows: of the words in it, [C].
        eps: of the lengths.

    Returns the gradient of the strength.
    """
    zero, one, added = grad.dtype.type(0), grad.dtype.type(1), grad.dtype.type(eps)
    size = len(key)
    square, inner, grad_strength = zero, zero, zero
    for i in range(size):
        square += key[i] * key[i]
        grad_key[i] = zero
    key_scale = one / math.sqrt(square + added)
    for k in range(len(grad)):
        inner += values[k] * grad[k]
    for k in range(len(grad)):
        word, row = words[k], grad_memory[rows[k]]
        square = zero
        for i in range(size):
            square += word[i] * word[i]
        scale = one / math.sqrt(square + added)
        delta = values[k] * (grad[k] - inner)  # d_k
        grad_strength += delta * cosine[k]
        scaled = delta * strength * scale * key_scale  # e_k / (n(q) n(m_k))
        along = delta * strength * cosine[k] * scale * scale
        for i in range(size):
            grad_key[i] += scaled * word[i]
            row[i] += scaled * key[i] - along * word[i]
    turn = strength * grad_strength * key_scale * key_scale
    for i in range(size):
        grad_key[i] -= turn * key[i]
    return grad_strength
