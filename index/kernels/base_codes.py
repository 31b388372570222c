"""Compiled search among the codes of a base's lists, for the cosine.

As in `index.kernels.code_loops`, codes of unit words tell within which bounds a score lies, and
only words that may be among the best are read. Words are those of a file, of any length: an eps
inside of their norms brings scores nearer to 0, by no more than the least length in a list says.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.base_lists import ROUNDED, are_asked_for, cosine
from index.kernels.code_loops import POSSIBLE, prefetch_codes, round_query
from index.kernels.grouped_lists import choose_in_groups
from index.kernels.prefetch import prefetch
from index.kernels.vectors import empty, insert
from index.list_copies import BLOCK
from index.llvm.code_bounds import put_code_bounds


class CodedLists(NamedTuple):
    """Words list by list, and their codes."""

    words: Any  # as they are kept, [n, width]
    codes: Any  # of unit words, int8 [blocks, ceil(W / 2), 16, 2]
    scales: Any  # float32 [16 blocks]
    starts: Any  # the first row of each list, and n at the end, int64 [L + 1]
    squares: Any  # the least w . w in each list, or 0, float32 [L]


class Room(NamedTuple):
    """Arrays that a search uses. While a query looks for words those of the last one arrive."""

    block: Any  # bounds of a block, [16]
    pairs: Any  # of the query's integers, int32 [ceil(W / 2)]
    bounds: Any  # upper bounds of words that may be among the best, [2, POSSIBLE]
    rows: Any  # theirs, int64 [2, POSSIBLE]
    low: Any  # the k highest lower bounds, [k]
    no_tags: Any  # int64 [k]

    @classmethod
    def of(cls, dtype: Any, width: int, k: int) -> "Room":
        """For scores of a dtype, words of W numbers and k neighbors."""
        block, bounds, low = (np.empty(size, dtype) for size in (BLOCK, (2, POSSIBLE), k))
        pairs = np.empty((width + 1) // 2, np.int32)
        return cls(block, pairs, bounds, np.empty((2, POSSIBLE), np.int64), low, np.empty(k, int))


@lean_jit
def best_in_coded_lists(lists, queries, chosen, counts, eps, room, scores, rows):
    """The k best rows of some lists for each query: `best_in_lists` for the cosine.

    Args:
        lists: `CodedLists`.
        queries: [Q, W], divided by their norms.
        chosen: lists, int64 [Q, C]; counts: how many of the C, int64 [Q], -1 for all lists.
        eps: added inside the norms of words.
        room: `Room`.
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer.

    Cost: O(words in the lists W) in integers, and O(W + k) for each word that may be the best.
    """
    last, kept = len(lists.starts) - 2, 0
    for q in range(len(queries)):
        query, turn = queries[q], q % 2
        empty(scores[q], rows[q])
        empty(room.low, room.no_tags)
        if q + 1 < len(queries):
            for c in range(min(counts[q + 1], 2)):
                _prefetch_list(lists, chosen[q + 1, c])
        rounded, possible = round_query(query, room.pairs), 0
        for c in range(1 if counts[q] < 0 else counts[q]):
            first = 0 if counts[q] < 0 else chosen[q, c]
            if c + 2 < counts[q]:
                _prefetch_list(lists, chosen[q, c + 2])
            square = 0.0
            end = lists.starts[last + 1]
            if counts[q] >= 0:
                end, square = lists.starts[first + 1], ROUNDED * np.float64(lists.squares[first])
            nearer = 1.0 if eps == 0 else np.sqrt(square / (square + eps))
            begin, how = lists.starts[first], (eps, query.dtype.type(nearer), turn)
            found = scores[q], rows[q]
            possible = _compare(query, rounded, begin, end, possible, lists, room, how, found)
        possible = _drop(possible, room, turn, room.low[-1])
        line = max(1, 64 // lists.words.itemsize)
        for i in range(possible):
            for w in range(0, lists.words.shape[1], line):
                prefetch(lists.words, room.rows[turn, i], w)
        if q > 0:
            _score(queries[q - 1], kept, lists, room, 1 - turn, eps, scores[q - 1], rows[q - 1])
        kept = possible
    if len(queries):
        q = len(queries) - 1
        _score(queries[q], kept, lists, room, q % 2, eps, scores[q], rows[q])


class Files(NamedTuple):
    """Of the files that are read: words in a row, bytes of it, where it begins, and pages."""

    words: Any  # 1, and three numbers and an array as `MappedRows.layout` has them
    codes: Any
    scales: Any
    slots: Any


@lean_jit
def nearest_by_codes(
    queries, moved, near, how, sizes, centroids, choice, lists, slot_of, files, room, found, chosen
):
    """A whole search: lists are chosen, and the best of their words found, with their slots.

    Args:
        queries, moved: [Q, W], and as `choose_in_groups` takes them; near: as it does.
        how: whether lists are ordered by product, groups looked into together, how many words are
            enough, and the eps inside of the norms of words.
        sizes, centroids, choice: as `choose_in_groups`, the last its room.
        lists: `CodedLists`; room: `Room`.
        slot_of: int32 [n].
        files: `Files`.
        found: scores and slots go here, [Q, k].
        chosen: room for lists and how many they are.

    Returns:
        0; 1 where the system has to be asked for pages of the chosen lists first, so that nothing
        was searched; 2 where it was not asked for the slots, or they are wrong: `found` has rows.
    """
    by_product, looked, budget, eps = how
    ones, counts = chosen
    choose_in_groups(
        moved, near, by_product, looked, sizes, budget, centroids, choice, ones, counts
    )
    if not (
        are_asked_for(lists.starts, ones, counts, *files.words)
        and are_asked_for(lists.starts, ones, counts, *files.codes)
        and are_asked_for(lists.starts, ones, counts, *files.scales)
    ):
        return 1
    scores, slots = found
    best_in_coded_lists(lists, queries, ones, counts, eps, room, scores, slots)
    _, row_bytes, begin, page, asked = files.slots
    for q in range(len(slots)):
        for j in range(slots.shape[1]):
            row = slots[q, j]
            if row >= 0 and not (
                asked[(row * row_bytes + begin) // page] and 0 <= slot_of[row] < len(slot_of)
            ):
                return 2
    for q in range(len(slots)):
        for j in range(slots.shape[1]):
            if slots[q, j] >= 0:
                slots[q, j] = slot_of[slots[q, j]]
    return 0


@lean_inline
def _prefetch_list(lists, one):
    """Asks the processor for the first blocks of a list."""
    begin, end = lists.starts[one], lists.starts[one + 1]
    for block in range(begin // BLOCK, min(begin // BLOCK + 6, (end + BLOCK - 1) // BLOCK)):
        prefetch_codes(lists.codes, lists.scales, block)


@lean_inline
def _compare(query, rounded, begin, end, possible, lists, room, how, found):
    """Adds the rows begin .. end - 1 that may be among the best; returns how many there are then.

    how: eps; the least share of a score that it leaves; and which rows of the room are used.
    found: scores and rows of the query.
    """
    factor, margin = rounded
    eps, nearer, turn = how
    bounds, least, nothing = room.block, room.low[-1], query.dtype.type(0)
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        # With an eps a score below 0 may be higher than its bound.
        asked = -query.dtype.type(np.inf) if eps > 0 and least < 0 else least
        given = room.pairs, lists.codes, lists.scales, block, factor, margin, asked, bounds
        above = put_code_bounds(*given)
        if above == 0:
            continue
        first = block * BLOCK
        for at in range(max(begin, first), min(end, first + BLOCK)):
            if not (above >> (at - first)) & 1:
                continue
            high = bounds[at - first]
            low = high - 2 * margin * lists.scales[at]
            if eps > 0:
                high, low = max(high, nothing), low * nearer if low > 0 else low
            if not high > least:
                continue
            if possible == POSSIBLE:
                possible = _drop(possible, room, turn, least)
                if 2 * possible > POSSIBLE:
                    _score(query, possible, lists, room, turn, eps, found[0], found[1])
                    possible = 0
            room.bounds[turn, possible], room.rows[turn, possible] = high, at
            possible += 1
            if low > least:
                insert(room.low, room.no_tags, low, 0)
                least = room.low[-1]
    return possible


@lean_inline
def _drop(possible, room, turn, least):
    """Drops the words that are none of the best; returns how many are left."""
    left, bounds, rows = 0, room.bounds[turn], room.rows[turn]
    for i in range(possible):
        if bounds[i] >= least:
            bounds[left], rows[left] = bounds[i], rows[i]
            left += 1
    return left


@lean_inline
def _score(query, possible, lists, room, turn, eps, best, tags):
    """Computes the scores of the words that may be among the best."""
    least = best[-1]
    for i in range(possible):
        row = room.rows[turn, i]
        score = cosine(lists.words[row], query, eps)
        if score > least:
            insert(best, tags, score, row)
            least = best[-1]
