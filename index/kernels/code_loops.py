"""Search among codes of words: bounds of the scores first, then the scores that may be the best.

The code of a word differs from it by at most half of its scale in each number, so its score for a
query differs by at most scale / 2 times the sum of the query's absolute numbers. A word whose upper
bound is below the lower bounds of k others is none of the k best, and its score is never computed.
So the result is that of comparing the words themselves.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline
from index.kernels.blocks import any_above, close_block, prefetch_block
from index.kernels.kept import scale_of
from index.kernels.prefetch import prefetch
from index.kernels.vectors import dot, empty, insert
from index.llvm.dots import WORDS, put_bounds

POSSIBLE = 256  # words whose scores are not yet known
_HALF = 0.52  # of a scale; more than a half, as sums are rounded


class Room(NamedTuple):
    """Arrays that a search uses."""

    scores: Any  # [2 WORDS]
    bounds: Any  # upper bounds of words that may be among the best, [POSSIBLE]
    places: Any  # theirs, int64 [POSSIBLE]
    low: Any  # the k highest lower bounds, [k]
    no_tags: Any  # int64 [k]

    @classmethod
    def of(cls, dtype: Any, k: int) -> "Room":
        """For scores of a dtype and k neighbors."""
        scores, bounds, low = (np.empty(size, dtype) for size in (2 * WORDS, POSSIBLE, k))
        return cls(scores, bounds, np.empty(POSSIBLE, np.int64), low, np.empty(k, np.int64))


@lean_inline
def _put_bounds(query, margin, codes, at, end, bounds):
    """Writes upper bounds of the scores of codes[at], ...; see `blocks.put_scores`."""
    begin = min(at, len(codes) - WORDS)
    put_bounds(query, codes, begin, margin, bounds)
    return close_block(bounds, begin, at, end)


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
    margin = query.dtype.type(0)
    for w in range(len(query)):
        margin += query.dtype.type(_HALF) * abs(query[w])
    empty(room.low, room.no_tags)
    possible = 0
    for c in range(count):
        one = chosen[c] if len(chosen) else begin + c
        following = chosen[min(c + 1, count - 1)] if len(chosen) else one
        ahead = lists.starts[following]
        possible = _compare(query, margin, one, ahead, possible, lists, room, best, tags)
    _score(query, _drop(possible, room, room.low[-1]), lists, room, best, tags)


@lean_inline
def _compare(query, margin, one, ahead, possible, lists, room, best, tags):
    """Adds the words of a list that may be among the best; returns how many there are then.

    Meanwhile the words from place `ahead` on are prefetched.
    """
    bounds, least, codes = room.scores, room.low[-1], lists.held_words
    start = lists.starts[one]
    end = start + lists.lengths[one]
    for at in range(start, end, WORDS):
        prefetch_block(codes, ahead + at - start)
        first = _put_bounds(query, margin, codes, at, end, bounds)
        if not any_above(bounds, first, least):
            continue
        for i in range(WORDS):
            high = bounds[first + i]
            if high > least:
                if possible == POSSIBLE:
                    possible = _drop(possible, room, least)
                    if 2 * possible > POSSIBLE:
                        _score(query, possible, lists, room, best, tags)
                        possible = 0
                room.bounds[possible], room.places[possible] = high, at + i
                possible += 1
                low = high - 2 * margin * scale_of(codes[at + i], query)
                if low > least:
                    insert(room.low, room.no_tags, low, 0)
                    least = room.low[-1]
    return possible


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
