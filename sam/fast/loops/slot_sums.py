"""Sums of weights by slot, for one head at a time: b, c and f at the slots that any of them has.

Whether a slot was there before cannot be foreseen, so nothing asks: what a new one needs is written
each time. Indices are unsigned, since others might count from the end.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, lean_inline

_SPREAD = 4  # places for each weight, at least
_OWNER, _OTHERS = 32, np.uint64(2**32 - 1)  # bits behind those of a head, and all of them
_ONE = np.uint64(1)


class SlotSums(NamedTuple):
    """A hash table; see `sums_for`."""

    keys: Any  # by place: the head that it belongs to, then the slot
    parts: Any  # by place: b, c and f; 0 where there is no slot of this head, [.., 3]
    owner: Any  # of the head now, [1]
    places: Any  # of the different slots, in their order
    known: Any  # these slots
    mixed: Any  # room for a number each


@inline
def sums_for(entries, like):
    """Room for so many weights, of the type of `like`."""
    size = 1
    while size < _SPREAD * entries:
        size *= 2
    return SlotSums(
        np.zeros(size, np.int64),
        np.zeros((size, 3), like.dtype),
        np.zeros(1, np.int64),
        np.empty(entries + 1, np.uint64),
        np.empty(entries + 1, np.int64),
        np.empty(entries, like.dtype),
    )


@lean_inline
def begin_sums(sums):
    """Begins another head; returns how many slots it has so far."""
    sums.owner[0] += 1
    return np.uint64(0)


@lean_inline
def add_to(sums, part, slot, value, different):
    """Adds a weight to the sum of a slot.

    Args:
        sums: see `sums_for`.
        part: 0, 1 or 2 for b, c or f.
        slot: at least 0.
        value: its weight.
        different: how many slots there are so far.

    Returns how many there are now.
    """
    key, mask = (sums.owner[0] << _OWNER) + slot, np.uint64(len(sums.keys) - 1)
    at = np.uint64(slot) & mask
    apart = np.uint64(sums.keys[at] ^ key)
    while apart - _ONE < _OTHERS:  # another slot of this head
        at = (at + _ONE) & mask
        apart = np.uint64(sums.keys[at] ^ key)
    sums.keys[at], sums.places[different], sums.known[different] = key, at, slot
    sums.parts[at, part] += value
    return different + np.uint64(apart != 0)


@lean_inline
def mix(modes, sums, different):
    """`sums.mixed` becomes pi_1 b + pi_2 c + pi_3 f at each slot."""
    pi_1, pi_2, pi_3 = modes[0], modes[1], modes[2]
    for i in range(different):
        part = sums.parts[sums.places[i]]
        sums.mixed[i] = pi_1 * part[0] + pi_2 * part[1] + pi_3 * part[2]


@lean_inline
def end_sums(sums, different):
    """Leaves no sums."""
    for i in range(different):
        place = sums.places[i]
        for part in range(3):
            sums.parts[place, part] = 0
