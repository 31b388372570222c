"""Exact search: the compiled form of `index.scan.scan`, for few words and queries."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.kept import number, scale_of
from index.kernels.vectors import closeness, dot, empty, insert, replace_least, sort_heap

_BLOCK = 64  # words whose scores are held at a time
# Up to so many of the best are kept sorted, more as a heap.
_SORTED_UP_TO = 32


@inline
def _four(words, penalty, queries, scores):
    """Scores of words [n, width] for four queries, which read them once."""
    q0, q1, q2, q3 = queries[0], queries[1], queries[2], queries[3]
    r0, r1, r2, r3 = scores[0], scores[1], scores[2], scores[3]
    for at in range(len(words)):
        word = words[at]
        s0 = queries.dtype.type(0)
        s1, s2, s3 = s0, s0, s0
        for w in range(len(q0)):
            one = number(word[w])
            s0 += one * q0[w]
            s1 += one * q1[w]
            s2 += one * q2[w]
            s3 += one * q3[w]
        scale = scale_of(word, q0)
        r0[at] = scale * s0 + penalty[at]
        r1[at] = scale * s1 + penalty[at]
        r2[at] = scale * s2 + penalty[at]
        r3[at] = scale * s3 + penalty[at]


@inline
def best_of_words(words, penalty, queries, l2, scores, rows):
    """The k best of one memory's words for each of its queries.

    Args:
        words: as they are kept, [R, width].
        penalty: 0 for a word that may be found, else -inf, [R].
        queries: [Q, W].
        l2: whether a score is minus the squared distance, and not an inner product.
        scores, rows: go here, best first, [Q, k]; -inf and -1 where there are fewer words.

    Cost: O(Q R W), and O(log k) for each word that is among the best so far.
    """
    count, in_order = len(queries), scores.shape[1] <= _SORTED_UP_TO
    fours = 0 if l2 else count - count % 4
    held = np.empty((4, _BLOCK), queries.dtype)
    for q in range(count):
        empty(scores[q], rows[q])
    for start in range(0, len(words), _BLOCK):
        some, closed = words[start : start + _BLOCK], penalty[start : start + _BLOCK]
        for q in range(count):
            if q < fours:
                if q % 4 == 0:
                    _four(some, closed, queries[q : q + 4], held)
                mine = held[q % 4]
            else:
                mine = held[0]
                for at in range(len(some)):
                    score = closeness(some[at], queries[q]) if l2 else dot(some[at], queries[q])
                    mine[at] = score + closed[at]
            best, where = scores[q], rows[q]
            lowest = len(best) - 1 if in_order else 0
            least = best[lowest]
            for at in range(len(some)):
                if mine[at] > least:
                    if in_order:
                        insert(best, where, mine[at], start + at)
                    else:
                        replace_least(best, where, mine[at], start + at)
                    least = best[lowest]
    if not in_order:
        for q in range(count):
            sort_heap(scores[q], rows[q])


@jit
def best_of_all(words, penalty, used, vectors, skip, l2, scores, slots):
    """`best_of_words` for every memory, of the words in its first slots.

    Args:
        words: as they are kept, [B, 1 + room, width]; penalty: [B, 1 + room]. Row 0 is no slot.
        used: R, slots looked at.
        vectors: the queries of each memory, after `skip` others, [B, skip + Q, W].
        l2: whether a score is minus the squared distance, and not an inner product.
        scores, slots: go here, [B, Q, k].
    """
    for b in range(len(words)):
        mine, closed = words[b, 1 : 1 + used], penalty[b, 1 : 1 + used]
        best_of_words(mine, closed, vectors[b, skip:], l2, scores[b], slots[b])
