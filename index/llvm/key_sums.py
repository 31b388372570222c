"""What several keys score with several words at a time, plus something for each word.

The words are loaded once for all keys, and all sums stay in registers.
"""

from typing import Any

from numba.core import types
from numba.extending import intrinsic

from index.llvm.row_sums import FOLDED, folded_lanes, sums_over_row
from index.llvm.vector_code import VECTOR, Kind, Place, index_of

KEYS = 4 if VECTOR == 64 else 2  # with 16 registers there is no room for more sums


def _key_sums(count: int, words_at_once: int) -> Any:
    """A function that compares so many keys with so many words.

    out[h apart + i] = sum_j keys[h W + j] words[at + i, j] + more[at + i]

    Its arguments: keys, one behind the other; words [R, W]; at; more [R]; apart; out. All numbers
    are of one type.
    """

    def put(typing: Any, keys: Any, words: Any, at: Any, more: Any, apart: Any, out: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, given: Any) -> Any:
            left, right, added, result = (
                Place(context, builder, signature.args[i], given[i]) for i in (0, 1, 3, 5)
            )
            kind, width = Kind(builder, keys.dtype), right.shape[1]
            size = index_of(kind.size)
            row = builder.mul(width, size)
            first = builder.mul(given[2], size)
            begin = right.moved(builder.mul(given[2], right.strides[0]))
            rows = [
                begin.moved(builder.mul(right.strides[0], index_of(i)))
                for i in range(words_at_once)
            ]
            asked = [left.moved(builder.mul(row, index_of(h))) for h in range(count)]

            def add(k: Any, sums: list[Any], mask: Any = None) -> list[Any]:
                offset = builder.mul(k, index_of(VECTOR))

                def load(place: Place) -> Any:
                    place = place.moved(offset)
                    return kind.load(place) if mask is None else kind.load_some(place, mask)

                found, later = [load(place) for place in rows], []
                for h, key in enumerate(map(load, asked)):
                    here = sums[h * words_at_once : (h + 1) * words_at_once]
                    later += [kind.fused(*pair, key) for pair in zip(here, found, strict=True)]
                return later

            zeros = [kind.zero] * (count * words_at_once)
            sums = sums_over_row(builder, kind, width, zeros, add)
            for place in range(0, len(sums), FOLDED):
                h, i = divmod(place, words_at_once)
                total = folded_lanes(builder, kind, sums[place : place + FOLDED])
                other = added.moved(first).at(total.type, i * kind.size)
                total = builder.fadd(total, builder.load(other, align=kind.size))
                column = builder.mul(builder.mul(given[4], index_of(h)), size)
                where = result.moved(column).at(total.type, i * kind.size)
                builder.store(total, where, align=kind.size)
            return context.get_dummy_value()

        index: Any = types.intp
        return types.void(keys, words, index, more, index, out), generate

    return intrinsic(put)


put_key_sums: Any = _key_sums(KEYS, 4)  # of KEYS keys with 4 words
put_sums: Any = _key_sums(1, 8)  # of one key with 8 words
