"""Sums over the numbers of a row, in vectors: the loop with what is left of the row, and the end.

At the end the lanes of four sums are added up together.
"""

from typing import Any

from index.llvm.vector_code import VECTOR, Kind, index_of, lanes_of, sums_over

FOLDED = 4  # vectors whose sums are taken together


def sums_over_row(builder: Any, kind: Kind, width: Any, zeros: list[Any], add: Any) -> list[Any]:
    """`sums_over` the vectors of a row.

    Args:
        builder: of the code.
        kind: of numbers.
        width: numbers in the row.
        zeros: what the sums begin with.
        add: `add(k, sums)` takes vector k; `add(k, sums, mask)` the last one, some of whose lanes
            are outside of the row.
    """
    nbytes = builder.mul(width, index_of(kind.size))
    count = builder.lshr(nbytes, index_of(VECTOR.bit_length() - 1))
    rest = builder.and_(nbytes, index_of(VECTOR - 1))
    sums = sums_over(builder, count, zeros, add)
    before = builder.block
    with builder.if_then(builder.icmp_signed(">", rest, index_of(0)), likely=False):
        later = add(count, sums, kind.first_lanes(rest))
        inside = builder.block
    for i, (total, new) in enumerate(zip(sums, later, strict=True)):
        sums[i] = builder.phi(total.type)
        sums[i].add_incoming(total, before)
        sums[i].add_incoming(new, inside)
    return sums


def folded_lanes(builder: Any, kind: Kind, sums: list[Any]) -> Any:
    """A vector with the sum over the lanes of each of four vectors."""

    def picked(low: Any, high: Any, which: Any) -> Any:
        return builder.shuffle_vector(low, high, lanes_of(which))

    def pairs(low: Any, high: Any) -> Any:
        """Sums of neighbours; in each group of four lanes those of `low` come first."""
        starts = range(0, lanes, group)
        even = [i for at in starts for i in (*range(at, at + group, 2), *others(at))]
        return builder.fadd(picked(low, high, even), picked(low, high, [i + 1 for i in even]))

    def others(at: int) -> range:
        return range(lanes + at, lanes + at + group, 2)

    lanes = kind.lanes
    group = min(lanes, FOLDED)
    low, high = pairs(*sums[:2]), pairs(*sums[2:])
    if lanes < FOLDED:
        return picked(low, high, range(FOLDED))
    total = pairs(low, high)
    while (lanes := lanes // 2) >= FOLDED:
        halves = range(lanes), range(lanes, 2 * lanes)
        total = builder.fadd(*(picked(total, total, half) for half in halves))
    return total
