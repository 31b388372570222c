"""Tables of links for compiled loops, and where weights go along the links.

What the tables hold is explained in `sam.ops.link_table`; here a table is its three arrays without
rows: a place is where a number stands.
"""

from typing import Any, NamedTuple

from index.compiled import inline, lean_inline
from sam.fast.loops.slot_sums import add_to


class Table(NamedTuple):
    """The three arrays of a link table without rows, and B; see `flat_table`."""

    values: Any
    incoming: Any
    outgoing: Any
    batch_size: int
    num_links: int  # K_L


@inline
def flat_table(values, incoming, outgoing, batch_size):
    """The table whose arrays are [rows, K_L]."""
    count = values.shape[1]
    return Table(values.reshape(-1), incoming.reshape(-1), outgoing.reshape(-1), batch_size, count)


@lean_inline
def follow_head(b, table, slots, weights, sums, different):
    """Adds where the weights of one head go along the links to its sums; see `SparseLinks.follow`.

    Args:
        b: of the batch.
        table: see `flat_table`.
        slots, weights: w, [K]; slots below what was reserved.
        sums: see `mixed_sums`; b is part 0, f part 2.
        different: how many slots have sums so far.

    Returns how many have now.
    """
    values, count, batch_size = table.values, table.num_links, table.batch_size
    # Places are far below 2^50: half a place more, and no rounding reaches the next slot.
    per_place = 1.0 / (count * batch_size)
    for k in range(len(slots)):
        start, weight = ((2 + slots[k]) * batch_size + b) * count, weights[k]
        for at in range(start, start + count):
            value = values[at] * weight
            if value != 0:
                slot = int((table.incoming[at] + 0.5) * per_place) - 2
                different = add_to(sums, 0, slot, value, different)
            place = table.outgoing[at]
            value = values[place] * weight
            if value != 0:
                slot = int((place + 0.5) * per_place) - 2
                different = add_to(sums, 2, slot, value, different)
    return different
