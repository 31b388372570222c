"""Compiled forms of `SparseLinks.update` and `SparseLinks.follow`: the same rules, slot by slot.

What the tables hold is explained in `sam.ops.link_table`; here a table is its three arrays without
rows: a place is where a number stands. Where the torch form goes through all links of a slot, most
of which are none, these leave out what is none; the order of the others is the same.
"""

import numpy as np

from index.compiled import inline, jit


@inline
def _largest(pool, length, top):
    """The first of a pool from the largest on, equal ones in order; those not above 0 are none.

    Each finds its place by how many go before it: no choice depends on an earlier one, which is
    faster for short lists than sorting.

    Args:
        pool: values, and what stands for each.
        length: how many.
        top: the same of the largest goes here, as many as fit.

    Returns how many.
    """
    (values, tags), (best, chosen), found = pool, top, 0
    for i in range(length):
        value, place = values[i], 0
        for j in range(length):
            place += (values[j] > value) | ((values[j] == value) & (j < i))
        if value > 0 and place < len(best):
            best[place], chosen[place] = value, tags[i]
            found += 1
    return found


@inline
def _find(slots, length, slot):
    """Where a slot stands among the first ones, or `length`."""
    at = 0
    while at < length and slots[at] != slot:
        at += 1
    return at


@inline
def _merge(slots, weights, written, amounts):
    """Adds up the weights of equal slots, at the first of them; returns how many are different."""
    different = 0
    for j in range(len(slots)):
        if slots[j] < 0:
            continue
        at = _find(written, different, slots[j])
        if at < different:
            amounts[at] += weights[j]
        else:
            written[at], amounts[at] = slots[j], weights[j]
            different += 1
    return different


@inline
def _fade(table, start, count, kept):
    """N(:, j) *= 1 - w(j) for the source j whose row begins at `start`."""
    values, incoming, outgoing = table
    for at in range(start, start + count):
        place = outgoing[at]
        if place != 0:
            values[place] *= kept
            if values[place] == 0:  # no link any more, on neither side
                outgoing[at], incoming[place] = 0, 0


@inline
def _link(table, start, kept, before_starts, total, pool, top, old, new):
    """N(i, :) = (1 - w(i)) N(i, :) + w(i) p, the K_L largest, in the row that begins at `start`.

    Args:
        kept: 1 - w(i).
        before_starts: of the rows of the entries of p.
        total: w(i) p(k), and 0 where that is i itself; what was there already is added.
        pool, top, old: to work with.
        new: where the links from the entries of p now stand goes here, 0 for none.
    """
    (values, incoming, outgoing), (amounts, places), (best, tags) = table, pool, top
    count, length = len(old), 0
    for column in range(count):
        place = incoming[start + column]
        old[column] = place
        if place == 0:
            continue
        outgoing[place] = 0
        value, again = values[start + column] * kept, False
        for k in range(count):
            if before_starts[k] <= place < before_starts[k] + count:
                total[k] += value
                again = True
        if not again:
            amounts[length], places[length] = value, column
            length += 1
    for k in range(count):
        new[k] = 0
        amounts[length], places[length] = total[k], count + k
        length += 1
    length = _largest(pool, length, top)
    for column in range(count):
        at = start + column
        values[at] = best[column] if column < length else 0
        incoming[at] = 0
        if column < length and tags[column] < count:
            incoming[at] = old[tags[column]]
            outgoing[incoming[at]] = at
        elif column < length:
            new[tags[column] - count] = at


@inline
def _leave(table, start, pool, top, old, new):
    """Keeps the K_L largest links from the entry of p whose row begins at `start`.

    Args:
        pool, top, old: to work with.
        new: where its new links stand, which come after those it had; 0 for none.
    """
    (values, incoming, outgoing), (amounts, places), tags = table, pool, top[1]
    count, length = len(old), 0
    for column in range(count):
        old[column] = outgoing[start + column]
        if old[column] != 0:
            amounts[length], places[length] = values[old[column]], old[column]
            length += 1
    for place in new:
        if place != 0:
            amounts[length], places[length] = values[place], place
            length += 1
    length = _largest(pool, length, top)
    for place in old:
        incoming[place] = 0
    for column in range(count):
        at = start + column
        outgoing[at] = tags[column] if column < length else 0
        incoming[outgoing[at]] = at
    for place in old:
        values[place] = 0 if incoming[place] == 0 else values[place]
    for place in new:
        values[place] = 0 if incoming[place] == 0 else values[place]


@inline
def _remember(slots, shares, rest, written, amounts, different, pool, top):
    """p = (1 - sum_i w(i)) p + w, the K_L largest; returns how many, in `top`."""
    (values, tags), length = pool, 0
    for k in range(len(slots)):
        share = shares[k] * rest
        at = _find(written, different, slots[k])
        if at < different:
            amounts[at] += share
        else:
            values[length], tags[length] = share, slots[k]
            length += 1
    for i in range(different):
        values[length], tags[length] = amounts[i], written[i]
        length += 1
    return _largest(pool, length, top)


@jit
def update(
    values,
    incoming,
    outgoing,
    before_slots,
    before_shares,
    slots,
    weights,
    decay_sources,
    after_slots,
    after_shares,
):
    """Renews N and P in place and makes a new p; see `SparseLinks.update`.

    Args:
        values: of the table, [rows, K_L].
        incoming, outgoing: of the table, [rows, K_L].
        before_slots, before_shares: p_{t-1}, [B, 1, K_L].
        slots, weights: w^W, [B, J]; slots below what was reserved.
        decay_sources: as in `SparseLinks`.
        after_slots, after_shares: p_t goes here, [B, 1, K_L].
    """
    (batch_size, width), count = slots.shape, values.shape[1]
    table = values.reshape(-1), incoming.reshape(-1), outgoing.reshape(-1)
    zero, one = values.dtype.type(0), values.dtype.type(1)
    written, amounts = np.empty(width, np.int64), np.empty(width, values.dtype)
    best, tags = top = np.empty(count, values.dtype), np.empty(count, np.int64)
    most = count + max(count, width)
    pool = np.empty(most, values.dtype), np.empty(most, np.int64)
    before_starts, old = np.empty(count, np.int64), np.empty(count, np.int64)
    total, new = np.empty(count, values.dtype), np.empty((count, width), np.int64)
    made = np.empty(count, np.int64)
    for b in range(batch_size):
        before, shares = before_slots[b, 0], before_shares[b, 0]
        different = _merge(slots[b], weights[b], written, amounts)
        rest = one
        for i in range(different):
            rest -= amounts[i]
        rest = max(rest, zero)  # weights may exceed 1 by rounding
        for k in range(count):
            before_starts[k] = ((2 + before[k]) * batch_size + b) * count
        if decay_sources:
            for i in range(different):
                start = ((2 + written[i]) * batch_size + b) * count
                _fade(table, start, count, max(one - amounts[i], zero))
        for i in range(different):
            for k in range(count):
                # A word does not follow itself.
                total[k] = amounts[i] * shares[k] if before[k] != written[i] else zero
            start, kept = ((2 + written[i]) * batch_size + b) * count, max(one - amounts[i], zero)
            _link(table, start, kept, before_starts, total, pool, top, old, made)
            for k in range(count):
                new[k, i] = made[k]
        for k in range(count):
            if before[k] >= 0:
                _leave(table, before_starts[k], pool, top, old, new[k, :different])
        length = _remember(before, shares, rest, written, amounts, different, pool, top)
        for k in range(count):
            after_slots[b, 0, k] = tags[k] if k < length else -1
            after_shares[b, 0, k] = best[k] if k < length else zero


@jit
def follow(
    values,
    incoming,
    outgoing,
    slots,
    weights,
    onward_slots,
    onward_values,
    back_slots,
    back_values,
):
    """Where weights go along the links; see `SparseLinks.follow`.

    Args:
        values: of the table, [rows, K_L].
        incoming, outgoing: of the table, [rows, K_L].
        slots, weights: w, [B, R, K]; slots below what was reserved.
        onward_slots, onward_values: f goes here, [B, R, K K_L].
        back_slots, back_values: b goes here, [B, R, K K_L].
    """
    (batch_size, heads, width), count = slots.shape, values.shape[1]
    strengths = values.reshape(-1)
    # Places are far below 2^50: half a place more, and no rounding reaches the next slot.
    per_place = 1.0 / (count * batch_size)
    zero = values.dtype.type(0)
    for b in range(batch_size):
        for r in range(heads):
            for k in range(width):
                row, weight = (2 + slots[b, r, k]) * batch_size + b, weights[b, r, k]
                for column in range(count):
                    at = k * count + column
                    place = outgoing[row, column]
                    value = strengths[place] * weight
                    there = value != zero
                    onward_values[b, r, at] = value
                    onward_slots[b, r, at] = int((place + 0.5) * per_place) - 2 if there else -1
                    place, value = incoming[row, column], values[row, column] * weight
                    there = value != zero
                    back_values[b, r, at] = value
                    back_slots[b, r, at] = int((place + 0.5) * per_place) - 2 if there else -1
