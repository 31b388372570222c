"""The compiled form of `SparseLinks.update`: the same rules in the same order, slot by slot."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit, lean_inline
from sam.fast.loops.link_following import flat_table
from sam.fast.loops.link_lanes import ENTRIES, LANES, join_links, put_ranks, whole

_NO_ROW = 2**62  # far behind all places


class Room(NamedTuple):
    """What `renew` works with; nothing in it outlives a call."""

    written: Any  # different slots, [J]
    amounts: Any  # their weights, [J]
    starts: Any  # where the rows of the entries of p begin, [K_L] and what fills the lanes
    values: Any  # to choose from
    tags: Any  # what stands for each: where it stands, or its slot
    ranks: Any  # how many go before each, int32
    new: Any  # where links to the words written stand from the entries of p, [J, K_L]


@inline
def room_for(table, width):
    """Room for a write to so many slots."""
    kind, count = table.values.dtype, table.num_links
    most = whole(count + max(whole(count, ENTRIES), width), LANES)
    starts = np.full(whole(count, ENTRIES), _NO_ROW)
    return Room(
        np.empty(width, np.int64),
        np.empty(width, kind),
        starts,
        np.empty(most, kind),
        np.empty(most, np.int64),
        np.empty(most, np.int32),
        np.empty((width, count), np.int64),
    )


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
def _link(table, start, kept, nowhere, room, new):
    """N(i, :) = (1 - w(i)) N(i, :) + w(i) p, the K_L largest, in the row that begins at `start`.

    Args:
        kept: 1 - w(i).
        nowhere: stands for no place; see `renew`.
        room: w(i) p(k), 0 where that is i itself, stand in its values behind K_L others.
        new: where the links from the entries of p now stand goes here.
    """
    values, incoming, outgoing = table.values, table.incoming, table.outgoing
    strengths, places, ranks, count = room.values, room.tags, room.ranks, table.num_links
    for column in range(count):
        at = start + column
        place = incoming[at]
        places[column] = place if place != 0 else nowhere
        strengths[column] = values[at] * kept
        values[at], incoming[at] = 0, 0
    for first in range(0, count, ENTRIES):
        totals = strengths[count + first :]
        join_links(places, strengths, count, room.starts[first:], totals)
    put_ranks(strengths, 2 * count, ranks)
    for column in range(count):
        value, place = strengths[column], places[column]
        stays = (value > 0) & (ranks[column] < count)
        at = start + ranks[column] if stays else nowhere
        values[at] = value if stays else 0
        incoming[at] = place
        outgoing[place] = at if stays else 0
    for k in range(count):
        value, rank = strengths[count + k], ranks[count + k]
        stays = (value > 0) & (rank < count)
        at = start + rank if stays else nowhere
        values[at] = value if stays else 0
        new[k] = at


@lean_inline
def _leave(table, start, nowhere, room, new):
    """Keeps the K_L largest links from the entry of p whose row begins at `start`.

    Args:
        nowhere: stands for no place; see `renew`.
        room: to work with.
        new: where its new links stand, which come after those it had.
    """
    values, incoming, outgoing = table.values, table.incoming, table.outgoing
    strengths, places, ranks, count = room.values, room.tags, room.ranks, table.num_links
    for column in range(count):
        place = outgoing[start + column]
        place = place if place != 0 else nowhere
        places[column], strengths[column] = place, values[place]
        outgoing[start + column] = 0
    for i in range(len(new)):
        places[count + i], strengths[count + i] = new[i], values[new[i]]
    length = count + len(new)
    put_ranks(strengths, length, ranks)
    for i in range(length):
        value, place = strengths[i], places[i]
        stays = (value > 0) & (ranks[i] < count)
        at = start + ranks[i] if stays else nowhere
        outgoing[at] = place
        incoming[place] = at if stays else 0
        values[place] = value if stays else 0


@lean_inline
def _remember(recent, shares, rest, different, room):
    """p = (1 - sum_i w(i)) p + w, the K_L largest, in place."""
    written, amounts = room.written, room.amounts
    values, tags, ranks, length = room.values, room.tags, room.ranks, 0
    for k in range(len(recent)):
        share = shares[k] * rest
        at = _find(written, different, recent[k])
        if at < different:
            amounts[at] += share
        else:
            values[length], tags[length] = share, recent[k]
            length += 1
        recent[k], shares[k] = -1, 0
    for i in range(different):
        values[length], tags[length] = amounts[i], written[i]
        length += 1
    put_ranks(values, length, ranks)
    for i in range(length):
        if ranks[i] < len(recent) and values[i] > 0:
            recent[ranks[i]], shares[ranks[i]] = tags[i], values[i]


@lean_inline
def renew(b, table, recent, shares, slots, weights, decay_sources, room):
    """Renews N, P and p of one memory in place; see `SparseLinks.update`.

    A link that is dropped is put where nothing is read, in the first row of the memory, so that
    nothing asks which ones stay: that cannot be foreseen. The strength there is always 0.

    Args:
        b: of the batch.
        table: see `link_following.flat_table`.
        recent, shares: slots and values of p, [K_L].
        slots, weights: w^W, [J]; slots below what was reserved.
        decay_sources: as in `SparseLinks`.
        room: see `room_for`.
    """
    written, amounts, new = room.written, room.amounts, room.new
    batch_size, count = table.batch_size, table.num_links
    zero, one, nowhere = table.values.dtype.type(0), table.values.dtype.type(1), b * count
    different = _merge(slots, weights, written, amounts)
    rest = one
    for i in range(different):
        rest -= amounts[i]
    rest = max(rest, zero)  # weights may exceed 1 by rounding
    for k in range(count):
        room.starts[k] = ((2 + recent[k]) * batch_size + b) * count
    if decay_sources:
        for i in range(different):
            start = ((2 + written[i]) * batch_size + b) * count
            _fade(table, start, max(one - amounts[i], zero))
    for i in range(different):
        for k in range(count):
            # A word does not follow itself.
            share = amounts[i] * shares[k]
            room.values[count + k] = share if recent[k] != written[i] else zero
        start, kept = ((2 + written[i]) * batch_size + b) * count, max(one - amounts[i], zero)
        _link(table, start, kept, nowhere, room, new[i])
    for k in range(count):
        if recent[k] >= 0:
            _leave(table, room.starts[k], nowhere, room, new[:different, k])
    _remember(recent, shares, rest, different, room)


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
