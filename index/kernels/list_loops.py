"""Compiled forms of `index.list_search`: search in lists."""

import numpy as np

from index.compiled import inline, jit
from index.inverted_lists import SMALL, SMALLER
from index.kernels.prefetch import prefetch
from index.kernels.vectors import closeness, dot, empty, holds, insert

_AHEAD = 8  # so many words ahead of the one that is compared are prefetched


@inline
def is_small(memory, lists, budget):
    """Whether a memory is searched whole; see `index.list_search.are_small`."""
    mine, most = lists.totals[memory], 0
    for b in range(len(lists.totals)):
        most = max(most, lists.totals[b])
    return mine <= budget or (mine <= SMALL and SMALLER * mine <= most)


@inline
def _compare_copies(query, one, lists, l2, best, tags):
    """Compares a query with the copies of words in a list; tags are places."""
    start, least = lists.starts[one], best[-1]
    words = lists.held_words[start : start + lists.lengths[one]]
    for at in range(len(words)):
        score = closeness(words[at], query) if l2 else dot(words[at], query)
        if score > least:
            insert(best, tags, score, start + at)
            least = best[-1]


@inline
def _compare_rows(query, one, lists, l2, again, best, tags):
    """The same with words looked up by row; tags are rows, and with `again` a word may return."""
    start, least = lists.starts[one], best[-1]
    rows, width = lists.held_rows[start : start + lists.lengths[one]], lists.words.shape[1]
    line = max(1, 64 // lists.words.itemsize)
    for at in range(len(rows)):
        ahead = np.int64(rows[min(at + _AHEAD, len(rows) - 1)])
        for w in range(0, width, line):
            prefetch(lists.words, ahead, w)
        row = np.int64(rows[at])
        score = closeness(lists.words[row], query) if l2 else dot(lists.words[row], query)
        if score > least and not (again and holds(tags, row)):
            insert(best, tags, score, row)
            least = best[-1]


@inline
def _compare(query, one, lists, l2, again, best, tags):
    if len(lists.held_words):
        _compare_copies(query, one, lists, l2, best, tags)
    else:
        _compare_rows(query, one, lists, l2, again, best, tags)


@inline
def _look(query, chosen, lists, l2, again, best, tags):
    """Compares a query with the words in the chosen lists."""
    for c in range(len(chosen)):
        if c + 1 < len(chosen) and len(lists.held_words):
            for ahead in range(4):
                prefetch(lists.held_words, lists.starts[chosen[c + 1]] + ahead, 0)
        _compare(query, chosen[c], lists, l2, again, best, tags)


@jit
def look_into(queries, chosen, counts, tables, lists, l2, scores, slots):
    """The k best of the words in some lists: `index.rescore.best_candidates`.

    Args:
        queries: [B, Q, W].
        chosen: lists that they look into, numbered through, int64 [B, Q, C].
        counts: how many of the C, int64 [B, Q]; -1 for all lists of the memory.
        tables: L.
        lists: `ListArrays`.
        l2: whether a score is minus the squared distance, and not an inner product.
        scores, slots: go here, best first, [B, Q, k]; -inf and -1 where there are fewer words.

    Returns:
        The number of words compared, of all queries together, where a word counts in each of the
        lists; and how many queries found fewer than k words, and fewer than there are.

    Cost: O(Q (C + words in the lists) W) for each memory.
    """
    batch_size = len(queries)
    many, stride = len(lists.starts) // (batch_size * tables), len(lists.list_of) // batch_size
    every = np.empty(many, np.int64)
    met, short = 0, 0
    for b in range(batch_size):
        ready = False
        for q in range(queries.shape[1]):
            query, best, tags = queries[b, q], scores[b, q], slots[b, q]
            empty(best, tags)
            if counts[b, q] < 0 and not ready:
                for i in range(many):
                    every[i] = b * tables * many + i
                ready = True
            mine = every if counts[b, q] < 0 else chosen[b, q, : counts[b, q]]
            for c in range(len(mine)):
                met += lists.lengths[mine[c]]
            again = tables > 1 and counts[b, q] >= 0
            if l2:
                _look(query, mine, lists, True, again, best, tags)
            else:
                _look(query, mine, lists, False, again, best, tags)
            reached = 0
            for j in range(len(best)):
                reached += np.int64(tags[j] >= 0)
            short += np.int64(reached < min(len(best), lists.totals[b]))
            for j in range(reached):
                row = np.int64(lists.held_rows[tags[j]]) if len(lists.held_words) else tags[j]
                tags[j] = row - b * stride - 1
    return met, short
