"""Compiled forms of `index.base.slot_map`: hash tables from slots to places."""

import numpy as np

from index.compiled import inline, jit

_FACTOR = np.int64(-7046029254386353131)  # as in `index.base.slot_map`


@inline
def _entry(slots, slot):
    """Where a slot is in a table, or the free entry where it would be."""
    mask = len(slots) - 1
    at = ((slot * _FACTOR) >> 32) & mask
    while slots[at] != slot and slots[at] >= 0:
        at = (at + 1) & mask
    return at


@jit
def find_slots(slots, places, memories, asked, found):
    """Writes the places of slots, or -1, to `found`.

    Args:
        slots, places: the tables, int64 [B, T].
        memories: whose table is asked, int64 [m].
        asked: int64 [m, M]; -1 has no place. found: int64 [m, M].
    """
    for i in range(len(asked)):
        mine, where = slots[memories[i]], places[memories[i]]
        for j in range(asked.shape[1]):
            found[i, j] = -1
            if asked[i, j] >= 0:
                at = _entry(mine, asked[i, j])
                if mine[at] >= 0:
                    found[i, j] = where[at]


@jit
def add_slots(slots, places, slot_of, counts, below, bound, asked, found):
    """As `find_slots` for all memories, after slots without a place have got the next one.

    Args:
        slots, places: int64 [B, T], with room for all of them.
        slot_of: by place, int64 [B, P].
        counts: places handed out, int64 [B]; below: how many of slots below `bound`, int64 [B].
        asked, found: int64 [B, M].
    """
    for b in range(len(asked)):
        for j in range(asked.shape[1]):
            slot = asked[b, j]
            found[b, j] = -1
            if slot >= 0:
                at = _entry(slots[b], slot)
                if slots[b, at] < 0:
                    slots[b, at], places[b, at] = slot, counts[b]
                    slot_of[b, counts[b]] = slot
                    counts[b] += 1
                    below[b] += np.int64(slot < bound)
                found[b, j] = places[b, at]
