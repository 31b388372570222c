"""Compiled forms of `index.list_search`: search in lists."""

from typing import Any

import numpy as np
from numba.extending import overload

from index.compiled import INLINE_OPTIONS, LEAN, lean_inline, lean_jit
from index.inverted_lists import SMALL, SMALLER
from index.kernels.blocks import any_above, prefetch_block, put_scores
from index.kernels.code_loops import look_at_codes
from index.kernels.copies import are_codes
from index.kernels.vectors import closeness, dot, empty, holds, insert
from index.llvm.dots import WORDS
from index.llvm.prefetch import prefetch_numbers

_AHEAD = 8  # so many words ahead of the one that is compared are prefetched


@lean_inline
def is_small(memory, lists, budget):
    """Whether a memory is searched whole; see `index.list_search.are_small`."""
    mine, most = lists.totals[memory], 0
    for b in range(len(lists.totals)):
        most = max(most, lists.totals[b])
    return mine <= budget or (mine <= SMALL and SMALLER * mine <= most)


@lean_inline
def _compare_copies(query, one, ahead, lists, l2, held, best, tags):
    """Compares a query with the copies of words in a list; tags are places.

    Meanwhile the words from place `ahead` on are prefetched.
    """
    start, least = lists.starts[one], best[-1]
    end = start + lists.lengths[one]
    for at in range(start, end, WORDS):
        prefetch_block(lists.held_words, ahead + at - start)
        first = put_scores(query, lists.held_words, at, end, l2, held)
        if any_above(held, first, least):
            for i in range(WORDS):
                if held[first + i] > least:
                    insert(best, tags, held[first + i], at + i)
                    least = best[-1]


@lean_inline
def _compare_rows(query, one, lists, l2, again, best, tags):
    """The same with words looked up by row; tags are rows, and with `again` a word may return."""
    start, least = lists.starts[one], best[-1]
    rows, width = lists.held_rows[start : start + lists.lengths[one]], lists.words.shape[1]
    for at in range(len(rows)):
        prefetch_numbers(lists.words, np.int64(rows[min(at + _AHEAD, len(rows) - 1)]), 0, width)
        row = np.int64(rows[at])
        score = closeness(lists.words[row], query) if l2 else dot(lists.words[row], query)
        if score > least and not (again and holds(tags, row)):
            insert(best, tags, score, row)
            least = best[-1]


@lean_inline
def _look_at_words(query, chosen, begin, count, lists, l2, again, room, best, tags):
    for c in range(count):
        one = chosen[c] if len(chosen) else begin + c
        if len(lists.held_words):
            following = chosen[min(c + 1, count - 1)] if len(chosen) else one
            _compare_copies(query, one, lists.starts[following], lists, l2, room.scores, best, tags)
        else:
            _compare_rows(query, one, lists, l2, again, best, tags)


def _look(*given: Any) -> Any:
    """Compares a query with the words in the chosen lists, or in `count` from `begin` on."""
    raise NotImplementedError


@overload(_look, jit_options=INLINE_OPTIONS | LEAN, strict=False)
def _look_at(query, chosen, begin, count, lists, l2, again, room, best, tags):
    if are_codes(lists):
        return lambda query, chosen, begin, count, lists, l2, again, room, best, tags: (
            look_at_codes(query, chosen, begin, count, lists, room, best, tags)
        )
    return lambda query, chosen, begin, count, lists, l2, again, room, best, tags: _look_at_words(
        query, chosen, begin, count, lists, l2, again, room, best, tags
    )


@lean_inline
def look_at_lists(query, chosen, begin, count, lists, l2, again, room, first_row, best, slots):
    """The k best of the words in some lists; returns how many there are.

    Args:
        query: [W].
        chosen, begin, count: lists, numbered through; without any, `count` from `begin` on.
        lists, l2, room: as `look_into`.
        again: whether a word may come again.
        first_row: of the memory.
        best, slots: scores and slots go here, best first, [k]; else -inf and -1.
    """
    empty(best, slots)
    if l2:
        _look(query, chosen, begin, count, lists, True, again, room, best, slots)
    else:
        _look(query, chosen, begin, count, lists, False, again, room, best, slots)
    reached = 0
    for j in range(len(best)):
        reached += np.int64(slots[j] >= 0)
    for j in range(reached):
        row = np.int64(lists.held_rows[slots[j]]) if len(lists.held_words) else slots[j]
        slots[j] = row - first_row - 1
    return reached


@lean_jit
def look_into(queries, chosen, counts, tables, lists, l2, room, scores, slots):
    """The k best of the words in some lists: `index.rescore.best_candidates`.

    Args:
        queries: [B, Q, W].
        chosen: lists that they look into, numbered through, int64 [B, Q, C].
        counts: how many of the C, int64 [B, Q]; -1 for all lists of the memory.
        tables: L.
        lists: `ListArrays`.
        l2: whether a score is minus the squared distance, and not an inner product.
        room: `Room`.
        scores, slots: go here, best first, [B, Q, k]; -inf and -1 where there are fewer words.

    Returns:
        The number of words compared, of all queries together, where a word counts in each of the
        lists; and how many queries found fewer than k words, and fewer than there are.

    Cost: O(Q (C + words in the lists) W) for each memory.
    """
    batch_size = len(queries)
    many, stride = len(lists.starts) // (batch_size * tables), len(lists.list_of) // batch_size
    met, short = 0, 0
    for b in range(batch_size):
        begin = b * tables * many  # one table has all words
        for q in range(queries.shape[1]):
            whole = counts[b, q] < 0
            count = many if whole else counts[b, q]
            mine, again = chosen[b, q, : 0 if whole else count], tables > 1 and not whole
            for c in range(count):
                met += lists.lengths[begin + c if whole else mine[c]]
            given = queries[b, q], mine, begin, count, lists, l2, again, room
            reached = look_at_lists(*given, b * stride, scores[b, q], slots[b, q])
            short += np.int64(reached < min(scores.shape[2], lists.totals[b]))
    return met, short


@lean_jit
def count_above(scores, own, lengths, met):
    """How many words lists have whose score is higher than that of a neighbor's list.

    Args:
        scores: of lists for each query, [Q, n].
        own: of the lists of its neighbors, [Q, k].
        lengths: words in each list, int64 [n].
        met: goes here, [Q, k].
    """
    for q in range(len(scores)):
        mine = scores[q]
        for j in range(own.shape[1]):
            least, count = own[q, j], 0
            for one in range(len(mine)):
                count += lengths[one] if mine[one] > least else 0
            met[q, j] = count
