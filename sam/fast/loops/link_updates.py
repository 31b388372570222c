"""The compiled form of `SparseLinks.update`: the same rules, slot by slot.

Where the torch form goes through all links of a slot, most of which are none, this one leaves out
what is none; the order of the others is the same.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.link_following import flat_table


class Room(NamedTuple):
    """What `renew` works with; nothing in it outlives a call."""

    written: Any  # different slots, [J]
    amounts: Any  # their weights, [J]
    pool: Any  # values and what stands for each, to choose from
    top: Any  # the same of those chosen, [K_L]
    before_starts: Any  # where the rows of the entries of p begin, [K_L]
    old: Any  # places, [K_L]
    total: Any  # w(i) p(k), [K_L]
    new: Any  # where links from the entries of p to the words written stand, [K_L, J]
    made: Any  # the same of one word, [K_L]


@inline
def room_for(table, width):
    """Room for a write to so many slots."""
    kind, count = table.values.dtype, table.num_links
    most = count + max(count, width) + 2  # with an end to each of two lists
    return Room(
        np.empty(width, np.int64),
        np.empty(width, kind),
        (np.empty(most, kind), np.empty(most, np.int64)),
        (np.empty(count, kind), np.empty(count, np.int64)),
        np.empty(count, np.int64),
        np.empty(count, np.int64),
        np.empty(count, kind),
        np.empty((count, width), np.int64),
        np.empty(count, np.int64),
    )


@lean_inline
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


@lean_inline
def _find(slots, length, slot):
    """Where a slot stands among the first ones, or `length`."""
    at = 0
    while at < length and slots[at] != slot:
        at += 1
    return at


@lean_inline
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


@lean_inline
def _fade(table, start, kept):
    """N(:, j) *= 1 - w(j) for the source j whose row begins at `start`."""
    values, incoming, outgoing = table.values, table.incoming, table.outgoing
    for at in range(start, start + table.num_links):
        place = outgoing[at]
        if place != 0:
            values[place] *= kept
            if values[place] == 0:  # no link any more, on neither side
                outgoing[at], incoming[place] = 0, 0


@lean_inline
def _sort(values, tags, start, stop):
    """From the largest on, equal ones in order. What is here is nearly sorted already."""
    for i in range(start + 1, stop):
        value, tag, at = values[i], tags[i], i
        while at > start and values[at - 1] < value:
            values[at], tags[at] = values[at - 1], tags[at - 1]
            at -= 1
        values[at], tags[at] = value, tag


@lean_inline
def _merged(pool, old, new, top):
    """`_largest` of two sorted lists, of equal ones those of the first.

    Args:
        pool: values and tags; the lists are 0 .. old - 1 and new .. , each with -inf behind it.
        old, new: where they end and begin.
        top: the same of the largest goes here, as many as fit.

    Returns how many are above 0.
    """
    (values, tags), (best, chosen), found = pool, top, 0
    first, second, end = 0, new, new + len(best)
    for place in range(len(best)):
        is_first = values[first] >= values[second]
        at = first if is_first else second
        best[place], chosen[place] = values[at], tags[at]
        # At its end a list stays.
        first += is_first and first < old
        second += not is_first and second < end
        found += best[place] > 0
    return found


@lean_inline
def _link(table, start, kept, before_starts, total, pool, top, old, new):
    """N(i, :) = (1 - w(i)) N(i, :) + w(i) p, the K_L largest, in the row that begins at `start`.

    Args:
        kept: 1 - w(i).
        before_starts: of the rows of the entries of p.
        total: w(i) p(k), and 0 where that is i itself; what was there already is added.
        pool, top, old: to work with.
        new: where the links from the entries of p now stand goes here, 0 for none.
    """
    values, incoming, outgoing = table.values, table.incoming, table.outgoing
    (amounts, places), (best, tags) = pool, top
    count, length = len(old), 0
    zero, none = amounts.dtype.type(0), amounts.dtype.type(-np.inf)
    for column in range(count):
        place = incoming[start + column]
        old[column] = place
        if place == 0:
            continue
        outgoing[place] = 0
        value, again = values[start + column] * kept, 0
        for k in range(count):
            inside = (place >= before_starts[k]) & (place < before_starts[k] + count)
            total[k] += value if inside else zero
            again += inside
        if again == 0:
            amounts[length], places[length] = value, column
            length += 1
    amounts[length], first = none, length + 1
    for k in range(count):
        new[k] = 0
        amounts[first + k], places[first + k] = total[k], count + k
    amounts[first + count] = none
    _sort(amounts, places, 0, length)
    _sort(amounts, places, first, first + count)
    length = _merged(pool, length, first, top)
    for column in range(count):
        at = start + column
        values[at] = best[column] if column < length else 0
        incoming[at] = 0
        if column < length and tags[column] < count:
            incoming[at] = old[tags[column]]
            outgoing[incoming[at]] = at
        elif column < length:
            new[tags[column] - count] = at


@lean_inline
def _leave(table, start, pool, top, old, new):
    """Keeps the K_L largest links from the entry of p whose row begins at `start`.

    Args:
        pool, top, old: to work with.
        new: where its new links stand, which come after those it had; 0 for none.
    """
    values, incoming, outgoing = table.values, table.incoming, table.outgoing
    (amounts, places), tags = pool, top[1]
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


@lean_inline
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


@lean_inline
def renew(b, table, recent, shares, slots, weights, decay_sources, room):
    """Renews N, P and p of one memory in place; see `SparseLinks.update`.

    Args:
        b: of the batch.
        table: see `link_following.flat_table`.
        recent, shares: slots and values of p, [K_L].
        slots, weights: w^W, [J]; slots below what was reserved.
        decay_sources: as in `SparseLinks`.
        room: see `room_for`.
    """
    written, amounts, pool, top, starts, old, total, new, made = room
    batch_size, count = table.batch_size, table.num_links
    zero, one = table.values.dtype.type(0), table.values.dtype.type(1)
    best, tags = top
    different = _merge(slots, weights, written, amounts)
    rest = one
    for i in range(different):
        rest -= amounts[i]
    rest = max(rest, zero)  # weights may exceed 1 by rounding
    for k in range(count):
        starts[k] = ((2 + recent[k]) * batch_size + b) * count
    if decay_sources:
        for i in range(different):
            start = ((2 + written[i]) * batch_size + b) * count
            _fade(table, start, max(one - amounts[i], zero))
    for i in range(different):
        for k in range(count):
            # A word does not follow itself.
            total[k] = amounts[i] * shares[k] if recent[k] != written[i] else zero
        start, kept = ((2 + written[i]) * batch_size + b) * count, max(one - amounts[i], zero)
        _link(table, start, kept, starts, total, pool, top, old, made)
        for k in range(count):
            new[k, i] = made[k]
    for k in range(count):
        if recent[k] >= 0:
            _leave(table, starts[k], pool, top, old, new[k, :different])
    length = _remember(recent, shares, rest, written, amounts, different, pool, top)
    for k in range(count):
        recent[k] = tags[k] if k < length else -1
        shares[k] = best[k] if k < length else zero


@jit
def update(values, incoming, outgoing, recent, shares, slots, weights, decay_sources):
    """`renew` for all memories.

    Args:
        values, incoming, outgoing: of the table, [rows, K_L].
        recent, shares: slots and values of p, [B, 1, K_L].
        slots, weights: w^W, [B, J].
        decay_sources: as in `SparseLinks`.
    """
    batch_size, width = slots.shape
    table = flat_table(values, incoming, outgoing, batch_size)
    room = room_for(table, width)
    for b in range(batch_size):
        renew(b, table, recent[b, 0], shares[b, 0], slots[b], weights[b], decay_sources, room)
