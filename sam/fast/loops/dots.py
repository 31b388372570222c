"""Scalar products of a key with several words at a time."""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from sam.fast.loops.vector_code import VECTOR, Kind, Place, index_of, sums_over

WORDS = 8  # that are compared with a key at a time
_FOLDED = 4  # vectors whose sums are taken together


def _put_dots(typing: Any, key: Any, words: Any, at: Any, out: Any) -> Any:
    """out[at + i] = sum_j key[j] words[at + i, j] for i < WORDS; key [W], words [R, W]."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, (_, _, at, _) = Kind(builder, key.dtype), given
        left, right, result = (
            Place(context, builder, signature.args[i], given[i]) for i in (0, 1, 3)
        )
        step, size = right.strides[0], builder.mul(right.shape[1], index_of(kind.size))
        right = right.moved(builder.mul(at, step))
        result = result.moved(builder.mul(at, index_of(kind.size)))
        count = builder.lshr(size, index_of(VECTOR.bit_length() - 1))
        rest = builder.and_(size, index_of(VECTOR - 1))

        def add(k: Any, sums: list[Any], load: Any = kind.load) -> list[Any]:
            offset = builder.mul(k, index_of(VECTOR))
            factor, column, later = load(left.moved(offset)), right.moved(offset), []
            for i, total in enumerate(sums):
                word = load(column.moved(builder.mul(step, index_of(i))))
                later.append(kind.fused(total, factor, word))
            return later

        sums = sums_over(builder, count, [kind.zero] * WORDS, add)
        before = builder.block
        with builder.if_then(builder.icmp_signed(">", rest, index_of(0)), likely=False):
            mask = kind.first_lanes(rest)
            later = add(count, sums, lambda place: kind.load_some(place, mask))
            inside = builder.block
        found = []
        for total, new in zip(sums, later, strict=True):
            phi = builder.phi(total.type)
            phi.add_incoming(total, before)
            phi.add_incoming(new, inside)
            found.append(phi)
        for first in range(0, WORDS, _FOLDED):
            total = _folded(builder, kind, found[first : first + _FOLDED])
            where = result.at(total.type, first * kind.size)
            builder.store(total, where, align=kind.size)
        return context.get_dummy_value()

    return types.void(key, words, types.intp, out), generate


def _folded(builder: Any, kind: Kind, sums: list[Any]) -> Any:
    """A vector with the sum over the lanes of each of four vectors."""

    def picked(low: Any, high: Any, which: Any) -> Any:
        return builder.shuffle_vector(low, high, kind.lanes_of(which))

    def pairs(low: Any, high: Any) -> Any:
        """Sums of neighbours; in each group of four lanes those of `low` come first."""
        starts = range(0, lanes, group)
        even = [i for at in starts for i in (*range(at, at + group, 2), *others(at))]
        return builder.fadd(picked(low, high, even), picked(low, high, [i + 1 for i in even]))

    def others(at: int) -> range:
        return range(lanes + at, lanes + at + group, 2)

    lanes = kind.lanes
    group = min(lanes, _FOLDED)
    low, high = pairs(*sums[:2]), pairs(*sums[2:])
    if lanes < _FOLDED:
        return picked(low, high, range(_FOLDED))
    total = pairs(low, high)
    while (lanes := lanes // 2) >= _FOLDED:
        halves = range(lanes), range(lanes, 2 * lanes)
        total = builder.fadd(*(picked(total, total, half) for half in halves))
    return total


# Put scalar products of a key with words, see `_put_dots`.
put_dots: Any = intrinsic(_put_dots)
