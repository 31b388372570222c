"""Compiled search in the lists of a base: `index.base.list_search.best_in_lists`."""

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.kept import number, scale_of
from index.kernels.vectors import closeness, dot, empty, insert, replace_least, sort_heap

_SORTED_UP_TO = 32  # of more neighbors the best are kept as a heap
# Squared lengths in between are far from the ends of the range of float32.
_LOW, _HIGH = 1e-20, 1e30


@lean_inline
def _cosine(word, query, eps):
    """word . query / sqrt(word . word + eps), 0 for a word of zeros."""
    product, square = query.dtype.type(0), query.dtype.type(0)
    for w in range(len(query)):
        one = query.dtype.type(number(word[w]))
        product += one * query[w]
        square += one * one
    scale = scale_of(word, query)
    length = scale * scale * square + query.dtype.type(eps)
    if length > _LOW and length < _HIGH:
        return scale * product / np.sqrt(length)
    return query.dtype.type(_wide_cosine(word, query, scale, eps))


@lean_inline
def _wide_cosine(word, query, scale, eps):
    """The same in float64, with the word divided first by its largest number."""
    most = np.sqrt(np.float64(eps))
    for w in range(len(query)):
        most = max(most, abs(np.float64(scale) * np.float64(number(word[w]))))
    if most == 0:
        return 0.0
    product, square = 0.0, 0.0
    for w in range(len(query)):
        one = np.float64(scale) * np.float64(number(word[w])) / most
        product += one * np.float64(query[w])
        square += one * one
    return product / np.sqrt(square + eps / most / most)


@lean_inline
def _score(word, query, kind, eps):
    if kind == 0:
        return _cosine(word, query, eps)
    return dot(word, query) if kind == 1 else closeness(word, query)


@lean_inline
def _look(words, start, query, kind, eps, best, rows, in_order):
    """Puts the rows of one list that are better than the last of the best among them."""
    lowest = len(best) - 1 if in_order else 0
    least = best[lowest]
    for at in range(len(words)):
        score = _score(words[at], query, kind, eps)
        if score > least:
            if in_order:
                insert(best, rows, score, start + at)
            else:
                replace_least(best, rows, score, start + at)
            least = best[lowest]


@lean_jit
def are_asked_for(starts, chosen, counts, row_bytes, begin, page, asked):
    """Whether the system was asked for all pages of some lists; see `MappedRows.will_need`.

    Args:
        starts, chosen, counts: as of `best_in_lists`.
        row_bytes: of a row; begin: where the first row begins in the file; page: bytes of one.
        asked: bool, for each page of the file.
    """
    for q in range(len(counts)):
        for c in range(counts[q]):
            first = (starts[chosen[q, c]] * row_bytes + begin) // page
            end = (starts[chosen[q, c] + 1] * row_bytes + begin - 1) // page + 1
            for at in range(first, end):
                if not asked[at]:
                    return False
    return True


@lean_jit
def best_in_lists(words, starts, queries, chosen, counts, kind, eps, scores, rows):
    """The k best rows of some lists for each query.

    Args:
        words: as they are kept, [n, width], list by list.
        starts: the first row of each list, and n at the end, int64 [L + 1].
        queries: [Q, W], divided by their norms for the cosine.
        chosen: lists, int64 [Q, C]; counts: how many of the C, int64 [Q].
        kind: 0 for cosine, 1 for dot, 2 for l2.
        eps: added inside the norms of words.
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer.

    Cost: O(words in the lists W), and for each of the best so far O(k) or O(log k).
    """
    in_order = scores.shape[1] <= _SORTED_UP_TO
    for q in range(len(queries)):
        query, best, found = queries[q], scores[q], rows[q]
        empty(best, found)
        for c in range(counts[q]):
            first = starts[chosen[q, c]]
            mine = words[first : starts[chosen[q, c] + 1]]
            if kind == 0:
                _look(mine, first, query, 0, eps, best, found, in_order)
            elif kind == 1:
                _look(mine, first, query, 1, eps, best, found, in_order)
            else:
                _look(mine, first, query, 2, eps, best, found, in_order)
        if not in_order:
            sort_heap(best, found)
