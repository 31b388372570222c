"""Tables of links for compiled loops, and the compiled form of `SparseLinks.follow`.

What the tables hold is explained in `sam.ops.link_table`; here a table is its three arrays without
rows: a place is where a number stands.
"""

from typing import Any, NamedTuple

from index.compiled import inline, jit, lean_inline


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
def follow_head(b, table, slots, weights, onward_slots, onward_values, back_slots, back_values):
    """Where the weights of one head go along the links; see `SparseLinks.follow`.

    Args:
        b: of the batch.
        table: see `flat_table`.
        slots, weights: w, [K]; slots below what was reserved.
        onward_slots, onward_values: f goes here, [K K_L].
        back_slots, back_values: b goes here, [K K_L].
    """
    values, count, batch_size = table.values, table.num_links, table.batch_size
    # Places are far below 2^50: half a place more, and no rounding reaches the next slot.
    per_place = 1.0 / (count * batch_size)
    zero = values.dtype.type(0)
    for k in range(len(slots)):
        start, weight = ((2 + slots[k]) * batch_size + b) * count, weights[k]
        for column in range(count):
            at = k * count + column
            place = table.outgoing[start + column]
            value = values[place] * weight
            onward_values[at] = value
            onward_slots[at] = int((place + 0.5) * per_place) - 2 if value != zero else -1
            place, value = table.incoming[start + column], values[start + column] * weight
            back_values[at] = value
            back_slots[at] = int((place + 0.5) * per_place) - 2 if value != zero else -1


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
    """`follow_head` for all heads.

    Args:
        values, incoming, outgoing: of the table, [rows, K_L].
        slots, weights: w, [B, R, K].
        onward_slots, onward_values: f goes here, [B, R, K K_L].
        back_slots, back_values: b goes here, [B, R, K K_L].
    """
    table = flat_table(values, incoming, outgoing, len(slots))
    for b in range(len(slots)):
        for r in range(slots.shape[1]):
            follow_head(
                *(b, table, slots[b, r], weights[b, r], onward_slots[b, r]),
                *(onward_values[b, r], back_slots[b, r], back_values[b, r]),
            )
