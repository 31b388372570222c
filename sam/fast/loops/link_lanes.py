"""What is done with all links of a slot at a time, in vector registers.

A word has eight links. Loops over so few are not made vector instructions of, since the compiler
does not know how many there are, and which of them are among the largest cannot be foreseen, so
that each question about it costs some twenty cycles. Here none is asked.
"""

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

from index.compiled import lean_inline
from index.llvm.vector_code import Kind, Place, index_of, spread, sums_over

LANES = 16  # numbers that are ranked at a time
ENTRIES = 8  # slots that are looked for at a time
_INT, _INDEX = ir.IntType(32), ir.IntType(64)


@lean_inline
def whole(length: int, lanes: int) -> int:
    """At least so many, and a multiple of the lanes."""
    return (length + lanes - 1) // lanes * lanes


def _constant(kind: ir.Type, values: Any) -> ir.Constant:
    """A vector of these numbers."""
    numbers = [ir.Constant(kind, value) for value in values]
    return ir.Constant(ir.VectorType(kind, len(numbers)), numbers)


def _put_ranks(typing: Any, values: Any, length: Any, ranks: Any) -> Any:
    """How many of the first numbers go before each: larger ones, and equal ones further ahead.

    Args:
        values: numbers, with room for a multiple of LANES.
        length: how many there are; what stands behind may be anything.
        ranks: goes here, int32, as much room.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, length = Kind(builder, values.dtype), given[1]
        numbers, out = (Place(context, builder, signature.args[i], given[i]) for i in (0, 2))
        lanes = ir.VectorType(kind.number, LANES)
        blocks = builder.udiv(builder.add(length, index_of(LANES - 1)), index_of(LANES))
        with cgutils.for_range(builder, blocks) as block:
            first = builder.mul(block.index, index_of(LANES))
            here = numbers.moved(builder.mul(first, index_of(kind.size)))
            mine = builder.load(here.at(lanes), align=kind.size)
            at = spread(builder, builder.trunc(first, _INT), LANES)
            at = builder.add(at, _constant(_INT, range(LANES)))

            def step(j: Any, found: list[Any], mine: Any = mine, at: Any = at) -> list[Any]:
                where = numbers.moved(builder.mul(j, index_of(kind.size)))
                other = spread(builder, builder.load(where.at(kind.number)), LANES)
                ahead = builder.icmp_signed("<", spread(builder, builder.trunc(j, _INT), LANES), at)
                equal = builder.and_(builder.fcmp_ordered("==", other, mine), ahead)
                before = builder.or_(builder.fcmp_ordered(">", other, mine), equal)
                return [builder.add(found[0], builder.zext(before, at.type))]

            (found,) = sums_over(builder, length, [_constant(_INT, [0] * LANES)], step)
            place = out.moved(builder.mul(first, index_of(4)))
            builder.store(found, place.at(found.type), align=4)
        return context.get_dummy_value()

    return types.void(values, types.intp, ranks), generate


def _join_links(typing: Any, places: Any, values: Any, count: Any, starts: Any, totals: Any) -> Any:
    """Links of a slot that come from one of some slots are added to what is new from there.

    Args:
        places: of the links, int64.
        values: their strengths; those of links that were added become 0.
        count: how many links, and places to a row.
        starts: where the rows of these slots begin, int64 [ENTRIES].
        totals: what is new from each, [ENTRIES]; changed.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind, count = Kind(builder, values.dtype), given[2]
        linked, strengths, rows, out = (
            Place(context, builder, signature.args[i], given[i]) for i in (0, 1, 3, 4)
        )
        begin = builder.load(rows.at(ir.VectorType(_INDEX, ENTRIES)), align=8)
        new = out.at(ir.VectorType(kind.number, ENTRIES))
        nothing = ir.Constant(kind.number, 0.0)
        width = spread(builder, count, ENTRIES)

        def step(c: Any, sums: list[Any]) -> list[Any]:
            place = builder.load(linked.moved(builder.mul(c, index_of(8))).at(_INDEX))
            where = strengths.moved(builder.mul(c, index_of(kind.size))).at(kind.number)
            value = builder.load(where)
            column = builder.sub(spread(builder, place, ENTRIES), begin)
            inside = builder.icmp_unsigned("<", column, width)
            more = builder.select(
                inside, spread(builder, value, ENTRIES), _constant(kind.number, [0.0] * ENTRIES)
            )
            bits = builder.bitcast(inside, ir.IntType(ENTRIES))
            none = builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))
            builder.store(builder.select(none, value, nothing), where)
            return [builder.fadd(sums[0], more)]

        before = builder.load(new, align=kind.size)
        (added,) = sums_over(builder, count, [_constant(kind.number, [0.0] * ENTRIES)], step)
        builder.store(builder.fadd(before, added), new, align=kind.size)
        return context.get_dummy_value()

    return types.void(places, values, types.intp, starts, totals), generate


put_ranks: Any = intrinsic(_put_ranks)
join_links: Any = intrinsic(_join_links)
