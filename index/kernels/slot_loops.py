"""Hash tables from slots to places: the compiled form of `index.base.slot_map`.

All arrays are int64: slots [B, M], -1 for none; the entries of the tables, slots and places [B, S]
each, -1 where free, with S a power of two; the slots by place, [B, P]; and how many places each row
has handed out, [B].
"""

from index.compiled import lean_inline, lean_jit

FACTOR = -7046029254386353131


@lean_inline
def entry(slot, keys):
    """Where a slot stands in the entries of a row, or the free one where it would be put."""
    mask = len(keys) - 1
    at = ((slot * FACTOR) >> 32) & mask
    while keys[at] >= 0 and keys[at] != slot:
        at = (at + 1) & mask
    return at


@lean_inline
def hand_out(b, at, slot, keys, places, slot_of, counts):
    """Gives a slot the next place of row b; it goes to the free entry `at`."""
    keys[b, at], places[b, at] = slot, counts[b]
    slot_of[b, counts[b]] = slot
    counts[b] += 1


@lean_jit
def find(slots, memories, keys, places, found):
    """Fills in the places of slots of some memories, [m, M] and [m]; -1 where there is none."""
    for row in range(len(slots)):
        b = memories[row]
        for m in range(slots.shape[1]):
            found[row, m] = -1
            if slots[row, m] >= 0:
                at = entry(slots[row, m], keys[b])
                if keys[b, at] >= 0:
                    found[row, m] = places[b, at]


@lean_jit
def add(slots, keys, places, slot_of, counts, bound, below, found):
    """As `find`, after slots without a place have got the next one; there must be room for them.

    Slots that get one and are smaller than the bound are added to `below`, int64 [B].

    Returns the most places that a memory has handed out.
    """
    most = 0
    for b in range(len(slots)):
        for m in range(slots.shape[1]):
            slot = slots[b, m]
            found[b, m] = -1
            if slot >= 0:
                at = entry(slot, keys[b])
                if keys[b, at] < 0:
                    hand_out(b, at, slot, keys, places, slot_of, counts)
                    below[b] += slot < bound
                found[b, m] = places[b, at]
        most = max(most, counts[b])
    return most


@lean_jit
def add_and_tell(slots, keys, places, slot_of, counts, found, new):
    """As `add`; memory, place and slot of each place that is handed out are put into `new`.

    Args:
        new: int64 [3, m], with m at least the number of slots.

    Returns:
        The most places that a memory has handed out, how many are new, and the highest of their
        slots, or -1.
    """
    most, count, highest = 0, 0, -1
    for b in range(len(slots)):
        for m in range(slots.shape[1]):
            slot = slots[b, m]
            found[b, m] = -1
            if slot >= 0:
                at = entry(slot, keys[b])
                if keys[b, at] < 0:
                    new[0, count], new[1, count], new[2, count] = b, counts[b], slot
                    hand_out(b, at, slot, keys, places, slot_of, counts)
                    count += 1
                    highest = max(highest, slot)
                found[b, m] = places[b, at]
        most = max(most, counts[b])
    return most, count, highest


@lean_jit
def follow(first, taken, until, rows, room, keys, places, slot_of, counts):
    """Gives slots first + taken[b], ... the next places up to `until`, if there is room for them.

    Args:
        first: a slot.
        taken: how many slots from it on have a place, int64 [B, 1]; altered.
        until: places wanted, int64 [B, 1].
        rows: which rows get any, bool [B, 1].
        room: for how many more places of a row there is room.

    Returns:
        The most new places of a row; and the most that a row has handed out. Where there is no room
        nothing is changed.
    """
    most, longest = 0, 0
    for b in range(len(counts)):
        if rows[b, 0]:
            longest = max(longest, until[b, 0] - counts[b])
    for b in range(len(counts)):
        if rows[b, 0] and longest <= room:
            for _ in range(until[b, 0] - counts[b]):
                slot = first + taken[b, 0]
                hand_out(b, entry(slot, keys[b]), slot, keys, places, slot_of, counts)
                taken[b, 0] += 1
        most = max(most, counts[b])
    return longest, most


@lean_jit
def note(new, count, rows, table, ahead, also_ahead):
    """Writes slots of new places to a table, and moves what stands behind them.

    Args:
        new: memory, place and slot of `count` places, int64 [3, m].
        rows: memories whose numbers move, bool [B, 1].
        table: int64 [B, 1 + P], of whose places the first is column 1.
        ahead, also_ahead: grow by as many as are new, int64 [B, 1].
    """
    for i in range(count):
        b = new[0, i]
        table[b, 1 + new[1, i]] = new[2, i]
        if rows[b, 0]:
            ahead[b, 0] += 1
            also_ahead[b, 0] += 1


@lean_jit
def slots_at(places, slot_of, found):
    """Fills in the slots at places, -1 for -1."""
    for b in range(len(places)):
        for m in range(places.shape[1]):
            found[b, m] = slot_of[b, places[b, m]] if places[b, m] >= 0 else -1


@lean_jit
def insert(slots, given, keys, places):
    """Puts slots that are not there, with their places."""
    for b in range(len(slots)):
        for m in range(slots.shape[1]):
            if slots[b, m] >= 0:
                at = entry(slots[b, m], keys[b])
                keys[b, at], places[b, at] = slots[b, m], given[b, m]
