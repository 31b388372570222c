"""What a key scores with several words at a time, read as they are kept.

A plain loop over words adds up the lanes of each sum by itself, which takes longer than the
products. Here the sums of eight words stay in registers, and their lanes are added up together.
"""

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from index.llvm.kept_vectors import KeptVectors
from index.llvm.row_sums import FOLDED, folded_lanes, sums_over_row
from index.llvm.vector_code import VECTOR, Kind, Place, index_of

WORDS = 8  # that are compared with a key at a time


class _Words:
    """Eight rows of an array: their addresses, and vectors of them."""

    def __init__(self, builder: Any, kind: Kind, dtype: Any, start: Place, rows: list[Any]) -> None:
        self._builder, self._kept = builder, KeptVectors(builder, kind, dtype)
        self._step = index_of(self._kept.size * kind.lanes)
        step = start.strides[0]
        self._places = [start.moved(builder.mul(row, step)) for row in rows]

    def load(self, k: Any, mask: Any = None) -> list[Any]:
        """The k-th vector of each, before the scale; lanes outside of the mask are 0."""
        offset = self._builder.mul(k, self._step)
        places = [place.moved(offset) for place in self._places]
        if mask is None:
            return [self._kept.load(place) for place in places]
        return [self._kept.load_some(place, mask) for place in places]

    def scales(self, width: Any) -> list[Any]:
        """What multiplies each; none if nothing does."""
        if not self._kept.has_scale:
            return []
        return [self._kept.scale(place.moved(width)) for place in self._places]


def _scores(how: str, key: Any, words: Any, rows: Any = None) -> Any:
    """Writes the code of the functions below; their last arguments are arrays that are filled.

    Args:
        how: "dots", "distances", or "lengths" for dots and squared lengths.
        key, words, rows: types of the arrays; without rows words follow one another.
    """

    def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        def place_of(i: int) -> Place:
            return Place(context, builder, signature.args[i], given[i])

        kind, left = Kind(builder, key.dtype), place_of(0)
        outs = [place_of(i) for i in range(len(given) - (2 if how == "lengths" else 1), len(given))]
        at = [builder.add(given[2], index_of(i)) for i in range(WORDS)]
        if rows is not None:
            at = [_row(builder, place_of(3), rows.dtype, i) for i in at]
        some = _Words(builder, kind, words.dtype, place_of(1), at)
        scales = [] if how == "lengths" else some.scales(left.shape[0])

        def add(k: Any, sums: list[Any], mask: Any = None) -> list[Any]:
            place = left.moved(builder.mul(k, index_of(VECTOR)))
            factor = kind.load(place) if mask is None else kind.load_some(place, mask)
            found = some.load(k, mask)
            pairs = [(factor, word) for word in found]
            if how == "distances":
                spread = map(kind.spread_value, scales)
                scaled = map(builder.fmul, found, spread) if scales else found
                apart = [builder.fsub(word, factor) for word in scaled]
                pairs = list(zip(apart, apart, strict=True))
            if how == "lengths":
                pairs += [(word, word) for word in found]
            return [kind.fused(total, *pair) for total, pair in zip(sums, pairs, strict=True)]

        def gathered(numbers: list[Any]) -> Any:
            """A vector of these numbers."""
            vector = ir.Constant(ir.VectorType(kind.number, len(numbers)), ir.Undefined)
            for i, number in enumerate(numbers):
                vector = builder.insert_element(vector, number, ir.Constant(ir.IntType(32), i))
            return vector

        zeros = [kind.zero] * (WORDS * len(outs))
        sums = sums_over_row(builder, kind, left.shape[0], zeros, add)
        folded = []
        for first in range(0, len(sums), FOLDED):
            total = folded_lanes(builder, kind, sums[first : first + FOLDED])
            if scales and how != "distances":
                total = builder.fmul(total, gathered(scales[first : first + FOLDED]))
            folded.append(total)
        for i, total in enumerate(folded):
            first = i * FOLDED
            where = outs[first // WORDS].at(total.type, first % WORDS * kind.size)
            builder.store(total, where, align=kind.size)
        return context.get_dummy_value()

    return generate


def _row(builder: Any, rows: Place, dtype: Any, at: Any) -> Any:
    """rows[at], as an index."""
    size = dtype.bitwidth // 8
    place = rows.moved(builder.mul(at, index_of(size)))
    number = builder.load(place.at(ir.IntType(dtype.bitwidth)))
    return number if size == 8 else builder.sext(number, index_of(0).type)


def _put_dots(typing: Any, key: Any, words: Any, at: Any, out: Any) -> Any:
    """out[i] = sum_j key[j] words[at + i, j] for i < WORDS.

    key [W] of floats; words [R, width], as they are kept; the scale of int8 is included.
    """
    return types.void(key, words, types.intp, out), _scores("dots", key, words)


def _put_distances(typing: Any, key: Any, words: Any, at: Any, out: Any) -> Any:
    """out[i] = sum_j (words[at + i, j] - key[j])^2 for i < WORDS; else as `put_dots`."""
    return types.void(key, words, types.intp, out), _scores("distances", key, words)


def _put_dots_of(typing: Any, key: Any, words: Any, at: Any, rows: Any, out: Any) -> Any:
    """`put_dots` of words[rows[at + i]]; rows are int32 or int64."""
    return types.void(key, words, types.intp, rows, out), _scores("dots", key, words, rows)


def _put_lengths(typing: Any, key: Any, words: Any, at: Any, out: Any, squares: Any) -> Any:
    """`put_dots`, and squares[i] = sum_j words[at + i, j]^2; both before the scale of int8."""
    return types.void(key, words, types.intp, out, squares), _scores("lengths", key, words)


put_dots: Any = intrinsic(_put_dots)
put_distances: Any = intrinsic(_put_distances)
put_dots_of: Any = intrinsic(_put_dots_of)
put_lengths: Any = intrinsic(_put_lengths)
