"""SDNC's write and read: the parts of one batch row or head, and the two calls of a single step.

The parts are shared by `sam.fast.linked_step` and by the steps of a sequence
(`sam.fast.loops.linked_sequence_forward`). Words of the store are [1 + C, B, W], slot s in row
1 + s; -1 stands for no slot.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.link_following import flat_table, follow_head
from sam.fast.loops.link_mixing import choose, sharpen, softmax
from sam.fast.loops.numerics import outside
from sam.fast.loops.slot_sums import add_to, begin_sums, end_sums, mix, sums_for


class MixRoom(NamedTuple):
    """What the read of a head works with; nothing in it outlives a head."""

    sums: Any  # see `sums_for`
    places: Any  # of those chosen, [K]


@inline
def mix_room(num_links, top_k, width, values):
    """Room to mix K weights along so many links a word with C by content, of the type of values."""
    return MixRoom(
        sums_for(2 * top_k * num_links + width, values), np.empty(max(top_k, 1), np.int64)
    )


@lean_inline
def write_row(b, store, prev_slots, prev, lru_slot, add, alpha, gamma, slots, values):
    """w^W = alpha (gamma mean_r w^R_{t-1} + (1 - gamma) I) and M = (1 - I 1^T) o M + w^W a^T.

    Args:
        b: of the batch.
        store: the words; changed in place.
        prev_slots, prev: w^R_{t-1}, [R, K].
        lru_slot: of the word that is written over; -1 for none.
        add: a, [W].
        alpha, gamma: gates.
        slots, values: w^W goes here, [R K + 1].
    """
    heads, width = prev.shape
    count, share = heads * width, prev.dtype.type(1) / prev.dtype.type(heads)
    again = alpha * gamma
    for j in range(count):
        r, k = j // width, j % width
        slots[j], values[j] = prev_slots[r, k], prev[r, k] * share * again
    slots[count], values[count] = lru_slot, alpha - again
    size = len(add)
    erased = store[1 + lru_slot, b]
    for i in range(size):
        erased[i] = 0
    for j in range(count + 1):
        # At a pad the weight is 0, so that it stays zero.
        word, value = store[1 + slots[j], b], values[j]
        for i in range(size):
            word[i] += value * add[i]


@lean_inline
def read_head(
    b,
    store,
    table,
    prev_slots,
    prev,
    near,
    cosine,
    strength,
    modes,
    room,
    kept_cosine,
    content,
    parts,
    words,
    found,
    reads,
    values,
    chosen,
    sharpening,
):
    """c = softmax_k(beta D), w^R = the K largest of pi_1 b + pi_2 c + pi_3 f, r = w^R M.

    Args:
        b: of the batch.
        store: the words.
        table: of the links, see `flat_table`.
        prev_slots, prev: w^R_{t-1}, [K].
        near, cosine: slots of c, and D, [C].
        strength: beta.
        modes: pi, [3].
        room: see `mix_room`.
        kept_cosine: D goes here, finite also where there is no word, [C]; may be `cosine`.
        content: c goes here, [C].
        parts: b, c and f at `chosen` go here, [3, K].
        words: those at `chosen` go here, [K, W].
        found: those at `near` go here, [C, W].
        reads: r goes here, [W].
        values, chosen: w^R goes here, [K].
        sharpening: what w^R is sharpened by; 0 leaves it as mixed.
    """
    width, top_k, size = len(near), len(chosen), len(reads)
    sums, places = room
    zero, lowest = values.dtype.type(0), values.dtype.type(-1)
    softmax(cosine, strength, near, content)
    different = follow_head(b, table, prev_slots, prev, sums, begin_sums(sums))
    for k in range(width):
        if content[k] != 0:
            different = add_to(sums, 1, near[k], content[k], different)
    mix(modes, sums, different)
    length = choose(sums.mixed, sums.known, different, values, places)
    if sharpening > 0:
        length = sharpen(values, length, sharpening)
    for k in range(top_k):
        there = k < length
        chosen[k] = sums.known[places[k]] if there else -1
        values[k] = values[k] if there else zero
        for part in range(3):
            parts[part, k] = sums.parts[sums.places[places[k]], part] if there else zero
    end_sums(sums, different)
    for k in range(width):
        kept_cosine[k] = max(cosine[k], lowest)
        word, copy = store[1 + near[k], b], found[k]
        for i in range(size):
            copy[i] = word[i]
    for i in range(size):
        reads[i] = zero
    for k in range(top_k):
        word, copy, value = store[1 + chosen[k], b], words[k], values[k]
        for i in range(size):
            copy[i] = word[i]
            reads[i] += value * word[i]


@jit
def write(
    store,
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
    """`write_row` for all batch rows.

    Args:
        store: words, changed in place, [1 + C, B, W].
        slot_bound: every slot is smaller.
        prev, prev_slots: w^R_{t-1}, [B, R, K].
        lru_slots: [B, 1].
        alpha, gamma: [B, 1].
        adds: a, [B, 1, W].
        slots, values: w^W goes here, [B, 1, R K + 1].
        rows: of the slots in the store, (1 + slot) B + b, go here, [B (R K + 1)].
        written: the words after the write go here, [B, R K + 1, W].

    Returns whether all slots are where they may be; if not, nothing is written.
    """
    if outside(prev_slots, slot_bound) or outside(lru_slots, slot_bound):
        return False
    batch_size, _, width = slots.shape
    for b in range(batch_size):
        write_row(
            *(b, store, prev_slots[b], prev[b], lru_slots[b, 0], adds[b, 0]),
            *(alpha[b, 0], gamma[b, 0], slots[b, 0], values[b, 0]),
        )
        for j in range(width):
            rows[b * width + j] = (1 + slots[b, 0, j]) * batch_size + b
        copy_words(b, store, slots[b, 0], written[b])
    return True


@lean_inline
def copy_words(b, store, slots, words):
    """The words at slots [M] go to `words`, [M, W]."""
    for j in range(len(slots)):
        word, copy = store[1 + slots[j], b], words[j]
        for i in range(len(copy)):
            copy[i] = word[i]


@jit
def read(
    store,
    slot_bound,
    near,
    cosine,
    strengths,
    modes,
    links,
    prev_slots,
    prev,
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
    sharpening,
):
    """`read_head` for all heads; shapes as there with [B, R, ...] before them.

    Args:
        store: words, [1 + C, B, W].
        slot_bound: every slot is smaller.
        links: values, incoming and outgoing of the table, [rows, K_L].
        prev_slots, prev: w^R_{t-1}, [B, R, K]; slots below the bound.
        read_rows: rows of `chosen` in the store go here, [B R K].
        found_rows: rows of `near` go here, [B R C].

    Returns whether all slots are where they may be; if not, nothing is read.
    """
    (batch_size, heads, width), top_k = near.shape, chosen.shape[2]
    if outside(near, slot_bound):
        return False
    table = flat_table(links[0], links[1], links[2], batch_size)
    room = mix_room(table.num_links, top_k, width, values)
    for b in range(batch_size):
        for r in range(heads):
            head = b * heads + r
            read_head(
                *(b, store, table, prev_slots[b, r], prev[b, r], near[b, r], cosine[b, r]),
                *(strengths[b, r], modes[b, r], room),
                *(kept_cosine[b, r], content[b, r], parts[b, r], words[b, r], found[b, r]),
                *(reads[b, r], values[b, r], chosen[b, r], sharpening),
            )
            for k in range(width):
                found_rows[head * width + k] = (1 + near[b, r, k]) * batch_size + b
            for k in range(top_k):
                read_rows[head * top_k + k] = (1 + chosen[b, r, k]) * batch_size + b
    return True
