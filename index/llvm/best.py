"""The best of a block of scores, kept in registers.

Which scores are among the best so far cannot be foreseen, and a loop that asks one after the other
loses some twenty cycles whenever the processor guesses wrong. Here a block first says how good a
score has to be at least: of the maxima over its lanes, which are scores of different words, the
k-th one. The few that reach it enter a sorted vector without a branch.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from index.llvm.vector_code import (
    Kind,
    Place,
    index_of,
    lanes_of,
    masked_load,
    masked_store,
    spread,
)

BLOCK = 64  # scores
FEW, MOST = 8, 32  # that can be kept
_LANES = 16  # whose maxima are compared
_BIT, _INT, _INDEX = ir.IntType(1), ir.IntType(32), ir.IntType(64)


def _constant(kind: ir.Type, values: Any) -> ir.Constant:
    """A vector of these numbers."""
    numbers = [ir.Constant(kind, value) for value in values]
    return ir.Constant(ir.VectorType(kind, len(numbers)), numbers)


class _Vectors:
    """Pieces of code on vectors, and on the best so far, which are `most` numbers."""

    def __init__(self, builder: Any, kind: Kind, most: int) -> None:
        self._builder, self._kind, self._most = builder, kind, most

    def lanes(self, vector: Any, which: Any) -> Any:
        """These lanes of a vector."""
        return self._builder.shuffle_vector(vector, vector, lanes_of(which))

    def load(self, place: Place, mask: Any, element: ir.Type) -> Any:
        """The best; those outside of the mask are 0, and their memory is not touched."""
        kind = ir.VectorType(element, self._most)
        nothing = ir.Constant(kind, None)
        return masked_load(self._builder, place.at(kind), mask, nothing, self._align(element))

    def store(self, vector: Any, place: Place, mask: Any) -> None:
        """Writes those inside of the mask."""
        align = self._align(vector.type.element)
        masked_store(self._builder, vector, place.at(vector.type), mask, align)

    def _align(self, element: ir.Type) -> int:
        return 8 if element == _INDEX else self._kind.size

    def bound(self, scores: Any, count: Any) -> Any:
        """The count-th largest of the maxima over lanes: at least so many scores reach it.

        Minus infinity for a count of more than there are lanes.
        """
        builder = self._builder
        parts = [self.lanes(scores, range(at, at + _LANES)) for at in range(0, BLOCK, _LANES)]
        most = parts[0]
        for part in parts[1:]:
            most = builder.select(builder.fcmp_ordered(">", part, most), part, most)
        larger = _constant(_INT, [0] * _LANES)  # how many maxima are
        for lane in range(_LANES):
            more = builder.fcmp_ordered(">", self.lanes(most, [lane] * _LANES), most)
            larger = builder.add(larger, builder.zext(more, larger.type))
        counts = spread(builder, builder.trunc(count, _INT), _LANES)
        is_among = builder.icmp_signed("<", larger, counts)
        infinity = _constant(self._kind.number, [float("inf")] * _LANES)
        least, width = builder.select(is_among, most, infinity), _LANES
        while (width := width // 2) > 0:
            low, high = self.lanes(least, range(width)), self.lanes(least, range(width, 2 * width))
            least = builder.select(builder.fcmp_ordered("<", low, high), low, high)
        found = builder.extract_element(least, ir.Constant(_INT, 0))
        nothing = ir.Constant(self._kind.number, float("-inf"))
        return builder.select(builder.icmp_signed(">", count, index_of(_LANES)), nothing, found)

    def with_score(self, best: Any, slots: Any, score: Any, slot: Any) -> tuple[Any, Any]:
        """Sorted scores and slots with one more, behind equal ones; the last one falls off."""
        builder, most = self._builder, self._most
        stays = builder.fcmp_ordered(">=", best, spread(builder, score, most))
        shifted = [0, *range(most - 1)]  # each lane from the one before
        enters = builder.or_(self.lanes(stays, shifted), _constant(_BIT, [1] + [0] * (most - 1)))
        results = []
        for vector, new in ((best, score), (slots, slot)):
            moved = builder.select(enters, spread(builder, new, most), self.lanes(vector, shifted))
            results.append(builder.select(stays, vector, moved))
        return results[0], results[1]


def _keep_best(most: int, scores: Any, best: Any, slots: Any) -> Any:
    """`keep_best` for arrays of these types and k up to `most`."""

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        kind = Kind(builder, scores.dtype)
        of_scores, of_best, of_slots = (
            Place(context, builder, signature.args[i], given[i]) for i in (0, 2, 3)
        )
        vectors, count = _Vectors(builder, kind, most), of_best.shape[0]
        held = builder.icmp_signed(
            "<", _constant(_INDEX, range(most)), spread(builder, count, most)
        )
        before = vectors.load(of_best, held, kind.number), vectors.load(of_slots, held, _INDEX)
        last = builder.trunc(builder.sub(count, index_of(1)), _INT)
        least = builder.extract_element(before[0], last)
        block = builder.load(of_scores.at(ir.VectorType(kind.number, BLOCK)), align=kind.size)
        is_above = builder.fcmp_ordered(">", block, spread(builder, least, BLOCK))
        above = builder.bitcast(is_above, _INDEX)
        with builder.if_then(builder.icmp_unsigned("!=", above, index_of(0))):
            # Without NaN, so that the bound is one of those above.
            nothing = spread(builder, ir.Constant(kind.number, float("-inf")), BLOCK)
            bound = vectors.bound(builder.select(is_above, block, nothing), count)
            bound = spread(builder, bound, BLOCK)
            reaches = builder.bitcast(builder.fcmp_ordered(">=", block, bound), _INDEX)
            entry, loop = builder.block, builder.append_basic_block("enter")
            entered = builder.append_basic_block("entered")
            bits = builder.and_(above, reaches)  # the best of the block reaches both
            builder.branch(loop)
            builder.position_at_end(loop)
            left, *kept = (builder.phi(each.type) for each in (bits, *before))
            at = builder.cttz(left, ir.Constant(_BIT, 1))
            score = builder.load(
                of_scores.moved(builder.mul(at, index_of(kind.size))).at(kind.number)
            )
            after = vectors.with_score(kept[0], kept[1], score, builder.add(given[1], at))
            fewer = builder.and_(left, builder.sub(left, index_of(1)))
            for phi, start, later in zip(
                (left, *kept), (bits, *before), (fewer, *after), strict=True
            ):
                phi.add_incoming(start, entry)
                phi.add_incoming(later, loop)
            builder.cbranch(builder.icmp_unsigned("!=", fewer, index_of(0)), loop, entered)
            builder.position_at_end(entered)
            vectors.store(after[0], of_best, held)
            vectors.store(after[1], of_slots, held)
        return context.get_dummy_value()

    return types.void(scores, types.intp, best, slots), generate


def _keep_few(typing: Any, scores: Any, first: Any, best: Any, slots: Any) -> Any:
    """`keep_best` for k up to FEW."""
    return _keep_best(FEW, scores, best, slots)


def _keep_most(typing: Any, scores: Any, first: Any, best: Any, slots: Any) -> Any:
    """Takes of a block of scores those in that are among the k best; equal ones come behind.

    Args:
        scores: [BLOCK]; -inf and NaN are none.
        first: the slot of the first one; the others follow.
        best: the k best so far, best first, -inf where there are fewer, [k] with k <= MOST.
        slots: of them, int64 [k].
    """
    return _keep_best(MOST, scores, best, slots)


keep_few_best: Any = intrinsic(_keep_few)
keep_best: Any = intrinsic(_keep_most)
