"""The compiled loops of `sam.fast.linked_step`: its write and its read.

Slots and rows are those of `WordStore`: slot s of memory b is row (1 + s) B + b, and slot -1 a pad.
"""

import numpy as np

from index.compiled import jit
from sam.fast.loops.link_mixing import choose, collect, softmax, table_for
from sam.fast.loops.numerics import outside


@jit
def write(
    memory,
    slot_bound,
    prev,
    prev_slots,
    lru_slots,
    alpha,
    gamma,
    adds,
    slots,
    values,
    rows,
    written,
):
    """w^W = alpha (gamma mean_r w^R_{t-1} + (1 - gamma) I) and M = (1 - I 1^T) o M + w^W a^T.

    Args:
        memory: words by row, changed in place, [(1 + C) B, W].
        slot_bound: every slot is smaller.
        prev, prev_slots: w^R_{t-1}, [B, R, K].
        lru_slots: [B, 1].
        alpha, gamma: [B, 1].
        adds: a, [B, 1, W].
        slots, values: w^W goes here, [B, 1, R K + 1].
        rows: of the slots, go here, [B (R K + 1)].
        written: the words after the write go here, [B, R K + 1, W].

    Returns whether all slots are where they may be; if not, nothing is written.
    """
    (batch_size, heads, width), size = prev.shape, memory.shape[1]
    if outside(prev_slots, slot_bound) or outside(lru_slots, slot_bound):
        return False
    count, share = heads * width, prev.dtype.type(1) / prev.dtype.type(heads)
    for b in range(batch_size):
        again, add, first = alpha[b, 0] * gamma[b, 0], adds[b, 0], b * (count + 1)
        for j in range(count):
            r, k = j // width, j % width
            slots[b, 0, j], values[b, 0, j] = prev_slots[b, r, k], prev[b, r, k] * share * again
        slots[b, 0, count], values[b, 0, count] = lru_slots[b, 0], alpha[b, 0] - again
        for j in range(count + 1):
            rows[first + j] = (1 + slots[b, 0, j]) * batch_size + b
        memory[rows[first + count], :] = 0
        for j in range(count + 1):
            # At a pad the weight is 0, so that it stays zero.
            word, value = memory[rows[first + j]], values[b, 0, j]
            for i in range(size):
                word[i] += value * add[i]
        for j in range(count + 1):
            word, copy = memory[rows[first + j]], written[b, j]
            for i in range(size):
                copy[i] = word[i]
    return True


@jit
def read(
    memory,
    slot_bound,
    near,
    cosine,
    strengths,
    modes,
    onward_slots,
    onwards,
    back_slots,
    back,
    read_rows,
    found_rows,
    words,
    found,
    kept_cosine,
    content,
    parts,
    reads,
    values,
    chosen,
):
    """c = softmax_k(beta D), w^R = the K largest of pi_1 b + pi_2 c + pi_3 f, r = w^R M.

    Args:
        memory: words by row, [(1 + C) B, W].
        slot_bound: every slot is smaller.
        near: of c, [B, R, C].
        cosine: D, [B, R, C].
        strengths: beta, [B, R].
        modes: pi, [B, R, 3].
        onward_slots, onwards: f, [B, R, M].
        back_slots, back: b, [B, R, M].
        read_rows: rows of `chosen` go here, [B R K].
        found_rows: rows of `near` go here, [B R C].
        words: those at `chosen` go here, [B, R, K, W].
        found: those at `near` go here, [B, R, C, W].
        kept_cosine: D goes here, finite also where there is no word, [B, R, C].
        content: c goes here, [B, R, C].
        parts: b, c and f at `chosen` go here, [B, R, 3, K].
        reads: r goes here, [B, R, W].
        values, chosen: w^R goes here, [B, R, K].

    Returns whether all slots are where they may be; if not, nothing is read.
    """
    batch_size, heads, width = near.shape
    top_k, size = chosen.shape[2], memory.shape[1]
    if outside(near, slot_bound):
        return False
    entries = back.shape[2] + width + onwards.shape[2]
    table, known = table_for(entries), np.empty(entries, np.int64)
    totals, places = np.empty((3, entries), values.dtype), np.empty(top_k, np.int64)
    zero, lowest = values.dtype.type(0), values.dtype.type(-1)
    for b in range(batch_size):
        for r in range(heads):
            head = b * heads + r
            softmax(cosine[b, r], strengths[b, r], near[b, r], content[b, r])
            different = 0
            for which, (slots, weights) in enumerate(
                (
                    (back_slots[b, r], back[b, r]),
                    (near[b, r], content[b, r]),
                    (onward_slots[b, r], onwards[b, r]),
                )
            ):
                different = collect(
                    table, 1 + head, slots, weights, which, known, totals, different
                )
            length = choose(modes[b, r], known, totals, different, values[b, r], places)
            for k in range(top_k):
                there = k < length
                chosen[b, r, k] = known[places[k]] if there else -1
                values[b, r, k] = values[b, r, k] if there else zero
                for part in range(3):
                    parts[b, r, part, k] = totals[part, places[k]] if there else zero
            for k in range(width):
                row = (1 + near[b, r, k]) * batch_size + b
                found_rows[head * width + k] = row
                kept_cosine[b, r, k] = max(cosine[b, r, k], lowest)
                word, copy = memory[row], found[b, r, k]
                for i in range(size):
                    copy[i] = word[i]
            what = reads[b, r]
            what[:] = zero
            for k in range(top_k):
                row = (1 + chosen[b, r, k]) * batch_size + b
                read_rows[head * top_k + k] = row
                word, copy, value = memory[row], words[b, r, k], values[b, r, k]
                for i in range(size):
                    copy[i] = word[i]
                    what[i] += value * word[i]
    return True
