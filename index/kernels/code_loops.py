"""Search among codes of words: bounds of the scores first, then the scores that may be the best.

The code of a word differs from it by at most half of its scale in each number, so its score for a
query differs by at most scale / 2 times the sum of the query's absolute numbers; somewhat more, as
the query is rounded to 16 bits. A word whose upper bound is below the lower bounds of k others is
none of the k best, and its score is never computed. So the result is that of comparing the words
themselves.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline
from index.kernels.vectors import dot, empty, insert
from index.list_copies import BLOCK, LARGEST_CODE, LEAST, MOST, MOST_SUM
from index.llvm.code_bounds import put_code_bounds
from index.llvm.prefetch import prefetch, prefetch_numbers

POSSIBLE = 256  # words whose scores are not yet known
_HALF = 0.52  # of a scale; more than a half, as sums are rounded


class Room(NamedTuple):
    """Arrays that a search uses."""

    scores: Any  # of a block, or of twice as many words as `index.llvm.dots` compares, [16]
    pairs: Any  # of the query's integers, int32 [ceil(W / 2)]
    bounds: Any  # upper bounds of words that may be among the best, [POSSIBLE]
    places: Any  # theirs, int64 [POSSIBLE]
    low: Any  # the k highest lower bounds, [k]
    no_tags: Any  # int64 [k]

    @classmethod
    def of(cls, dtype: Any, width: int, k: int) -> "Room":
        """For scores of a dtype, words of W numbers and k neighbors."""
        scores, bounds, low = (np.empty(size, dtype) for size in (BLOCK, POSSIBLE, k))
        pairs = np.empty((width + 1) // 2, np.int32)
        return cls(scores, pairs, bounds, np.empty(POSSIBLE, np.int64), low, np.empty(k, np.int64))


@lean_inline
def round_query(query, pairs):
    """Writes the query's numbers as int16, in pairs.

    Returns:
        What they have to be multiplied by; and, per scale of a word, how far a score of codes may
        be from that of the words.
    """
    most, total = query.dtype.type(0), query.dtype.type(0)
    for w in range(len(query)):
        most, total = max(most, abs(query[w])), total + abs(query[w])
    if most < LEAST:
        for p in range(len(pairs)):
            pairs[p] = 0
        return query.dtype.type(0), query.dtype.type(2 * LARGEST_CODE) * total
    times = query.dtype.type(min(MOST / most, MOST_SUM / total))
    for p in range(len(pairs)):
        low = _nearest(query[2 * p] * times)
        high = _nearest(query[2 * p + 1] * times) if 2 * p + 1 < len(query) else np.int32(0)
        pairs[p] = (high << np.int32(16)) | (low & np.int32(0xFFFF))
    step = query.dtype.type(1) / times
    return step, query.dtype.type(_HALF) * (total + step * LARGEST_CODE * len(query))


@lean_inline
def _nearest(number):
    return np.int32(number + (0.5 if number > 0 else -0.5))


@lean_inline
def look_at_codes(query, chosen, begin, count, lists, room, best, tags):
    """Compares a query with the words in the chosen lists, or in `count` of them from `begin` on.

    Args:
        query: [W].
        chosen, begin, count: lists, numbered through.
        lists: `ListArrays` that hold codes.
        room: `Room`.
        best, tags: scores and places go here, best first, [k]; they are empty.
    """
    rounded = round_query(query, room.pairs)
    empty(room.low, room.no_tags)
    possible = 0
    for c in range(count):
        one = chosen[c] if len(chosen) else begin + c
        following = chosen[min(c + 2, count - 1)] if len(chosen) else one
        ahead = lists.starts[following]
        possible = _compare(query, rounded, one, ahead, possible, lists, room, best, tags)
    _score(query, _drop(possible, room, room.low[-1]), lists, room, best, tags)


@lean_inline
def _compare(query, rounded, one, ahead, possible, lists, room, best, tags):
    """Adds the words of a list that may be among the best; returns how many there are then.

    Meanwhile the words from place `ahead` on are prefetched.
    """
    factor, margin = rounded
    bounds, least, codes, scales = room.scores, room.low[-1], lists.held_words, lists.held_scales
    start, end = lists.starts[one], lists.starts[one] + lists.lengths[one]
    following = ahead // BLOCK
    for block in range(start // BLOCK, (end + BLOCK - 1) // BLOCK):
        prefetch_codes(codes, scales, following)
        following = min(following + 1, len(codes) - 1)
        how = factor, margin, query.dtype.type(least)
        above = put_code_bounds(room.pairs, codes, scales, block, *how, bounds)
        if above == 0:
            continue
        first = block * BLOCK
        for at in range(max(start, first), min(end, first + BLOCK)):
            high = bounds[at - first]
            if (above >> (at - first)) & 1 and high > least:
                if possible == POSSIBLE:
                    possible = _drop(possible, room, least)
                    if 2 * possible > POSSIBLE:
                        _score(query, possible, lists, room, best, tags)
                        possible = 0
                room.bounds[possible], room.places[possible] = high, at
                possible += 1
                low = high - 2 * margin * scales[at]
                if low > least:
                    insert(room.low, room.no_tags, low, 0)
                    least = room.low[-1]
    return possible


@lean_inline
def prefetch_codes(codes, scales, block):
    """Asks the processor for a block."""
    prefetch_numbers(codes, block, 0, 2 * BLOCK * codes.shape[1])
    prefetch(scales, block * BLOCK, 0)


@lean_inline
def _drop(possible, room, least):
    """Drops the words that are none of the best; returns how many are left."""
    left = 0
    for i in range(possible):
        if room.bounds[i] >= least:
            room.bounds[left], room.places[left] = room.bounds[i], room.places[i]
            left += 1
    return left


@lean_inline
def _score(query, possible, lists, room, best, tags):
    """Computes the scores of the words that may be among the best."""
    line, least = max(1, 64 // lists.words.itemsize), best[-1]
    for i in range(possible):
        row = np.int64(lists.held_rows[room.places[i]])
        for w in range(0, lists.words.shape[1], line):
            prefetch(lists.words, row, w)
    for i in range(possible):
        row = np.int64(lists.held_rows[room.places[i]])
        score = dot(lists.words[row], query)
        if score > least:
            insert(best, tags, score, room.places[i])
            least = best[-1]
