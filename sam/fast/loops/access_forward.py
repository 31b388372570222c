"""SAM's memory access for one batch row, forward: squash, write, tell the index, search, read.

The equations are those of `sam.fast.fused_access`. The controls of a row stand in one array
p [P]: keys [H W], what to add [V W], write gates [V], interpolation gates [V], strengths [H].
Words of the store are [1 + C, B, W], slot s in row 1 + s; -1 stands for no slot.
"""

from typing import Any

import numpy as np

from index.compiled import lean_inline
from index.llvm.best import BLOCK, FEW, MOST, keep_best, keep_few_best
from index.llvm.key_sums import KEYS, put_key_sums, put_sums
from sam.fast.loops.numerics import exp, number, sigmoid, softplus

WORDS = 8  # that are scored at a time


@lean_inline
def squash(p: Any, heads: int, writes: int, size: int, min_strength: float) -> None:
    """Sigmoid for the gates, `min_strength` + softplus for the strengths, in place."""
    start = (heads + writes) * size
    gates, strengths = p[start : start + 2 * writes], p[start + 2 * writes :]
    for i in range(2 * writes):
        gates[i] = sigmoid(gates[i])
    for head in range(heads):
        strengths[head] = softplus(strengths[head]) + number(p[0], min_strength)


@lean_inline
def write(
    row: int,
    p: Any,
    prev_slots: Any,
    prev_values: Any,
    lru_slots: Any,
    slots: Any,
    values: Any,
    store: Any,
) -> None:
    """w^W = alpha (gamma w^R_{t-1} + (1 - gamma) I), M = (1 - I 1^T) o M + w^W a^T.

    Args:
        row: of the batch.
        p: squashed controls.
        prev_slots, prev_values: slots read at the last step and their weights, [H, K].
        lru_slots: least recently accessed slots, [V].
        slots, values: where w^W goes, [V, J] with J = H K / V + 1.
        store: the words; changed.
    """
    heads, count = prev_slots.shape
    writes, width = slots.shape
    size = store.shape[2]
    gates = (heads + writes) * size
    share = number(p[0], writes / heads)  # a shared write head uses the mean over the read heads
    for v in range(writes):
        alpha = p[gates + v]
        again = alpha * p[gates + writes + v]
        for k in range(width - 1):
            flat = v * (width - 1) + k
            slots[v, k] = prev_slots[flat // count, flat % count]
            values[v, k] = again * (share * prev_values[flat // count, flat % count])
        slots[v, width - 1] = lru_slots[v]
        values[v, width - 1] = alpha - again
        if lru_slots[v] >= 0:
            for j in range(size):
                store[1 + lru_slots[v], row, j] = 0
    for v in range(writes):
        start = (heads + v) * size
        add = p[start : start + size]
        for k in range(width):
            if slots[v, k] >= 0:
                word, value = store[1 + slots[v, k], row], values[v, k]
                for j in range(size):
                    word[j] += value * add[j]


@lean_inline
def put_units(row: int, slots: Any, store: Any, units: Any, penalty: Any, eps: float) -> bool:
    """Tells an exact index the words at `slots` [V, J], divided by n(m) = sqrt(m.m + eps).

    Returns False, at the first one, where a word is not finite.
    """
    size = store.shape[2]
    for v in range(slots.shape[0]):
        for k in range(slots.shape[1]):
            place = 1 + slots[v, k]
            if place == 0:
                continue
            word, unit = store[place, row], units[row, place]
            square = _square(word, eps)
            if not square < np.inf:
                return False
            scale = number(square, 1.0) / np.sqrt(square)
            for j in range(size):
                unit[j] = word[j] * scale
            penalty[row, place] = 0
    return True


@lean_inline
def search(
    row: int,
    p: Any,
    units: Any,
    penalty: Any,
    count: int,
    slots: Any,
    cosine: Any,
    eps: float,
    scores: Any,
) -> bool:
    """The K words most like each key, best first, among slots 0 .. count - 1.

    Args:
        row: of the batch.
        p: controls.
        units: words divided by their lengths, by place, [B, 1 + room, W].
        penalty: 0, or -inf where there is no word, by place, [B, 1 + room].
        count: slots to look at.
        slots, cosine: where the result goes, [H, K]; -1 and -inf where there are fewer.
        eps: of the lengths.
        scores: KEYS BLOCK numbers to use.

    Returns False if a key is not finite; then the result may be anything.
    """
    heads, top_k = slots.shape
    size = units.shape[2]
    for head in range(heads):
        for k in range(top_k):
            slots[head, k], cosine[head, k] = -1, -np.inf
    words, closed = units[row, 1:], penalty[row, 1:]
    for start in range(0, count, BLOCK):
        many = min(BLOCK, count - start)
        some, shut = words[start:], closed[start:]
        for first in range(0, heads, KEYS):
            together = min(KEYS, heads - first)
            _score(p[first * size :], together, some, shut, many, scores)
            for head in range(first, first + together):
                found = scores[(head - first) * BLOCK :]
                if top_k <= FEW:
                    keep_few_best(found, start, cosine[head], slots[head])
                elif top_k <= MOST:
                    keep_best(found, start, cosine[head], slots[head])
                else:
                    least = cosine[head, top_k - 1]
                    for at in range(many):
                        if found[at] > least:
                            least = enter(slots, cosine, head, start + at, found[at])
    for head in range(heads):
        square = _square(p[head * size : (head + 1) * size], eps)
        if not square < np.inf:
            return False
        scale = number(p[0], 1.0) / np.sqrt(square)
        for k in range(top_k):
            cosine[head, k] *= scale
    return True


@lean_inline
def _score(keys: Any, count: Any, words: Any, penalty: Any, many: Any, scores: Any) -> None:
    """What keys score with the first words, -inf behind them.

    Args:
        keys: one behind the other.
        count: how many, at most KEYS.
        words: [.., W].
        penalty: what is added to the score of each word.
        many: how many words, at most BLOCK.
        scores: go here, BLOCK numbers for each key.
    """
    size, last = words.shape[1], len(words) - WORDS
    for at in range(0, many, WORDS):
        if at > last:
            for key in range(count):
                for i in range(at, many):
                    score = penalty[i]
                    for j in range(size):
                        score += keys[key * size + j] * words[i, j]
                    scores[key * BLOCK + i] = score
        elif count == KEYS:
            for half in range(0, WORDS, WORDS // 2):
                put_key_sums(keys, words, at + half, penalty, BLOCK, scores[at + half :])
        else:
            for key in range(count):
                out = scores[key * BLOCK + at :]
                put_sums(keys[key * size :], words, at, penalty, BLOCK, out)
    for key in range(count):
        for at in range(many, BLOCK):
            scores[key * BLOCK + at] = -np.inf


@lean_inline
def _square(word: Any, eps: float) -> Any:
    """m . m + eps"""
    square = number(word[0], eps)
    for j in range(len(word)):
        square += word[j] * word[j]
    return square


@lean_inline
def enter(slots: Any, scores: Any, head: int, slot: int, score: Any) -> Any:
    """Takes a score in among a head's K best, best first; returns the least of them."""
    last = scores.shape[1] - 1
    k = last
    while k > 0 and scores[head, k - 1] < score:
        scores[head, k], slots[head, k] = scores[head, k - 1], slots[head, k - 1]
        k -= 1
    scores[head, k], slots[head, k] = score, slot
    return scores[head, last]


@lean_inline
def read(
    row: int, p: Any, slots: Any, cosine: Any, values: Any, words: Any, reads: Any, store: Any
) -> None:
    """w^R = softmax_k(beta D_k), r = sum_k w^R(k) M(s_k).

    Args:
        row: of the batch.
        p: squashed controls.
        slots, cosine: what was found, [H, K]; cosines become at least -1.
        values: where w^R goes, [H, K].
        words: where the words read go, [H, K, W].
        reads: where r goes, [H W].
        store: the words.
    """
    heads, top_k = slots.shape
    size = store.shape[2]
    for head in range(heads):
        zero = number(p[0], 0.0)
        strength, total, highest = p[len(p) - heads + head], zero, number(p[0], -np.inf)
        result = reads[head * size : (head + 1) * size]
        for k in range(top_k):
            cosine[head, k] = max(cosine[head, k], number(p[0], -1.0))
            if slots[head, k] >= 0:
                highest = max(highest, strength * cosine[head, k])
        for k in range(top_k):
            value = zero
            if slots[head, k] >= 0:
                value = exp(strength * cosine[head, k] - highest)
            values[head, k] = value
            total += value
        for j in range(size):
            result[j] = 0
        for k in range(top_k):
            if total > zero:
                values[head, k] /= total
            value, word, copy = values[head, k], store[1 + slots[head, k], row], words[head, k]
            for j in range(size):
                copy[j] = word[j]
                result[j] += value * word[j]
