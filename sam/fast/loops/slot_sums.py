"""Sums of weights by slot, for one head at a time: b, c and f at the slots that any of them has.

Whether a slot was there before cannot be foreseen, so nothing asks: what a new one needs is written
each time.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, lean_inline
from sam.fast.loops.link_lanes import LANES, whole

_SPREAD = 4  # places of the hash table for each entry, at least
_OWNER = 32  # bits behind those of a head


class SlotSums(NamedTuple):
    """See `sums_for`."""

    keys: Any  # by place of a hash table: the head that it belongs to, then the slot
    entries: Any  # which entry it holds
    owner: Any  # of the head now, [1]
    known: Any  # slots by entry
    parts: Any  # b, c and f by entry, [3, ...]; 0 behind the last one
    mixed: Any  # room for a number an entry


@inline
def sums_for(entries, like):
    """Room for so many weights, of the type of `like`."""
    size = 1
    while size < _SPREAD * entries:
        size *= 2
    most = whole(entries, LANES)
    return SlotSums(
        np.zeros(size, np.int64),
        np.empty(size, np.int64),
        np.zeros(1, np.int64),
        np.empty(most, np.int64),
        np.empty((3, most), like.dtype),
        np.empty(most, like.dtype),
    )


@lean_inline
def begin_sums(sums):
    """Forgets those of the head before."""
    sums.owner[0] += 1
    for part in range(3):
        one = sums.parts[part]
        for i in range(len(one)):
            one[i] = 0


@lean_inline
def add_to(sums, part, slot, value, different):
    """Adds a weight to the sum of a slot.

    Args:
        sums: see `sums_for`.
        part: 0, 1 or 2 for b, c or f.
        slot: any but -1.
        value: its weight.
        different: how many slots there are so far.

    Returns how many there are now.
    """
    keys, entries, mask = sums.keys, sums.entries, len(sums.keys) - 1
    key, at = (sums.owner[0] << _OWNER) + slot, slot & mask
    held = keys[at]
    while held != key and (held ^ key) >> _OWNER == 0:  # another slot of this head
        at = (at + 1) & mask
        held = keys[at]
    entry, is_new = entries[at], held != key
    entry = different if is_new else entry
    keys[at], entries[at], sums.known[entry] = key, entry, slot
    sums.parts[part, entry] += value
    return different + is_new


@lean_inline
def mix(modes, sums, different):
    """`sums.mixed` becomes pi_1 b + pi_2 c + pi_3 f at each slot."""
    back, content, onward = sums.parts[0], sums.parts[1], sums.parts[2]
    pi_1, pi_2, pi_3 = modes[0], modes[1], modes[2]
    for first in range(0, different, LANES):
        b, c, f, out = back[first:], content[first:], onward[first:], sums.mixed[first:]
        for i in range(LANES):
            out[i] = pi_1 * b[i] + pi_2 * c[i] + pi_3 * f[i]
