"""Compiled search among the codes of a base's lists, for the cosine.

As in `index.kernels.code_loops`, codes of unit words tell within which bounds a score lies, and
only words that may be among the best are read. Words are those of a file, of any length: an eps
inside of their norms brings scores nearer to 0, by no more than the least length in a list says.

In a large base most of the time is waiting for memory. So codes are asked for some blocks before
they are compared, over lists and queries; and while a query compares, the words that the last one
needs arrive.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline, lean_jit, lean_part
from index.kernels.base_lists import ROUNDED
from index.kernels.code_loops import POSSIBLE, prefetch_codes, round_query
from index.kernels.kept_words import cosine, prefetch_word
from index.kernels.slot_loops import entry
from index.kernels.vectors import empty, insert
from index.list_copies import BLOCK
from index.llvm.code_bounds import put_code_bounds
from index.llvm.compared import lowest_bit

AHEAD = 10  # blocks between what is asked for and what is compared


class CodedLists(NamedTuple):
    """Words list by list, and their codes."""

    words: Any  # `KeptWords`, n of them
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
def best_in_coded_lists(lists, queries, chosen, counts, eps, room, hidden, scores, rows):
    """The k best rows of some lists for each query: `best_in_lists` for the cosine.

    Args:
        lists: `CodedLists`.
        queries: of B memories, one after another, [Q, W], divided by their norms.
        chosen: lists, int64 [Q, C]; counts: how many of the C, int64 [Q], -1 for all lists.
        eps: added inside the norms of words.
        room: `Room`.
        hidden: rows that a memory does not see, in a table as of `index.kernels.slot_loops`, int64
            [B, S].
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer.

    Cost: O(words in the lists W) in integers, and O(W + k) for each word that may be the best.
    """
    last, kept, each = len(lists.starts) - 2, 0, len(queries) // max(1, len(hidden))
    # What is asked for next: blocks `block` .. `until` - 1 of the list with number c of query q.
    ahead = 0, -1, 0, 0
    for _ in range(AHEAD):
        ahead = _ask(lists, chosen, counts, ahead)
    for q in range(len(queries)):
        query, turn, found = queries[q], q % 2, (scores[q], rows[q])
        empty(*found)
        empty(room.low, room.no_tags)
        rounded, possible = round_query(query, room.pairs), 0
        for c in range(1 if counts[q] < 0 else counts[q]):
            first = 0 if counts[q] < 0 else chosen[q, c]
            end, square = lists.starts[last + 1], 0.0
            if counts[q] >= 0:
                end, square = lists.starts[first + 1], ROUNDED * np.float64(lists.squares[first])
            nearer = 1.0 if eps == 0 else np.sqrt(square / (square + eps))
            how = eps, query.dtype.type(nearer), turn
            given = lists, room, hidden[q // each], how, found
            for block in range(lists.starts[first] // BLOCK, (end + BLOCK - 1) // BLOCK):
                ahead = _ask(lists, chosen, counts, ahead)
                inside = max(lists.starts[first], block * BLOCK), min(end, (block + 1) * BLOCK)
                possible = _compare(query, rounded, block, inside, possible, *given)
        possible = _drop(possible, room, turn, room.low[-1])
        for i in range(possible):
            prefetch_word(lists.words, room.rows[turn, i])
        if q > 0:
            _score(queries[q - 1], kept, lists, room, 1 - turn, eps, scores[q - 1], rows[q - 1])
        kept = possible
    if len(queries):
        q = len(queries) - 1
        _score(queries[q], kept, lists, room, q % 2, eps, scores[q], rows[q])


@lean_inline
def _ask(lists, chosen, counts, ahead):
    """Asks the processor for the next block of the lists that are compared; returns what follows.

    Where a query compares all lists the processor sees itself what comes next.
    """
    q, c, block, until = ahead
    while block == until and q < len(counts):
        c += 1
        if c >= counts[q]:
            q, c = q + 1, -1
        else:
            block = lists.starts[chosen[q, c]] // BLOCK
            until = (lists.starts[chosen[q, c] + 1] + BLOCK - 1) // BLOCK
    if block < until:
        prefetch_codes(lists.codes, lists.scales, block)
        block += 1
    return q, c, block, until


@lean_inline
def _compare(query, rounded, block, inside, possible, lists, room, hidden, how, found):
    """Adds the rows of a block that may be among the best; returns how many there are then.

    Args:
        inside: from which row of it on, and before which.
        hidden: rows that are left out, as of a memory.
        how: eps; the least share of a score that it leaves; and which rows of the room are used.
        found: scores and rows of the query.
    """
    factor, margin = rounded
    eps, nearer, turn = how
    bounds, least, nothing = room.block, room.low[-1], query.dtype.type(0)
    # With an eps a score below 0 may be higher than its bound.
    asked = -query.dtype.type(np.inf) if eps > 0 and least < 0 else least
    given = room.pairs, lists.codes, lists.scales, block, factor, margin, asked, bounds
    above, first = put_code_bounds(*given), block * BLOCK
    while above != 0:
        at = first + lowest_bit(above)
        above &= above - 1
        if at < inside[0] or at >= inside[1]:
            continue
        high = bounds[at - first]
        low = high - 2 * margin * lists.scales[at]
        if eps > 0:
            high, low = max(high, nothing), low * nearer if low > 0 else low
        if not high > least or hidden[entry(at, hidden)] == at:
            continue
        if possible == POSSIBLE:
            possible = _drop(possible, room, turn, least)
            if 2 * possible > POSSIBLE:
                _score(query, possible, lists, room, turn, eps, *found)
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


@lean_part
def _score(query, possible, lists, room, turn, eps, best, tags):
    """Computes the scores of the words that may be among the best."""
    rows, words = room.rows[turn, :possible], lists.words
    _score_rows(query, rows, words.floats, eps, best, tags)
    _score_rows(query, rows, words.halves, eps, best, tags)
    _score_rows(query, rows, words.bfloats, eps, best, tags)
    _score_rows(query, rows, words.integers, eps, best, tags)


@lean_inline
def _score_rows(query, rows, kept, eps, best, tags):
    """The same of words that are kept in one way; nothing if these are none."""
    if len(kept) == 0:
        return
    least = best[-1]
    for i in range(len(rows)):
        score = cosine(kept[rows[i]], query, eps)
        if score > least:
            insert(best, tags, score, rows[i])
            least = best[-1]
