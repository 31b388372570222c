"""Scores of vectors, and sorted lists of the best so far, for the compiled searches."""

import numpy as np

from index.compiled import lean_inline
from index.kernels.kept import number, scale_of


@lean_inline
def copy(source, target):
    """Copies a vector; compiled sooner than an assignment of arrays."""
    for w in range(len(target)):
        target[w] = source[w]


@lean_inline
def dot(a, b):
    """a . b of a word as it is kept and a vector of floats."""
    total = b.dtype.type(0)
    for w in range(len(b)):
        total += number(a[w]) * b[w]
    return scale_of(a, b) * total


@lean_inline
def closeness(a, b):
    """-|a - b|^2 of the same, from differences, which cannot cancel."""
    total, scale = b.dtype.type(0), scale_of(a, b)
    for w in range(len(b)):
        apart = scale * number(a[w]) - b[w]
        total -= apart * apart
    return total


@lean_inline
def insert(scores, tags, score, tag):
    """Inserts a score above the last one into a list that is sorted from the highest on."""
    at = len(scores) - 1
    while at > 0 and scores[at - 1] < score:
        scores[at], tags[at] = scores[at - 1], tags[at - 1]
        at -= 1
    scores[at], tags[at] = score, tag


@lean_inline
def replace_least(scores, tags, score, tag):
    """Puts a score in the place of the least one of a heap, where no score is above those below it.

    Below place i are 2 i + 1 and 2 i + 2. An empty list is a heap.
    """
    _sink(scores, tags, score, tag, len(scores))


@lean_inline
def sort_heap(scores, tags):
    """Makes of a heap a list that is sorted from the highest on."""
    for last in range(len(scores) - 1, 0, -1):
        score, tag = scores[last], tags[last]
        scores[last], tags[last] = scores[0], tags[0]
        _sink(scores, tags, score, tag, last)


@lean_inline
def _sink(scores, tags, score, tag, size):
    """Puts a score at the top of a heap of so many places, then down to where it belongs."""
    at, below = 0, 1
    while below < size:
        if below + 1 < size and scores[below + 1] < scores[below]:
            below += 1
        if scores[below] >= score:
            break
        scores[at], tags[at] = scores[below], tags[below]
        at, below = below, 2 * below + 1
    scores[at], tags[at] = score, tag


@lean_inline
def empty(scores, tags):
    """Empties such a list: scores of -inf, tags of -1."""
    for at in range(len(scores)):
        scores[at], tags[at] = -np.inf, -1


@lean_inline
def holds(tags, tag):
    """Whether a tag is in such a list."""
    found = False
    for at in range(len(tags)):
        found |= tags[at] == tag
    return found


@lean_inline
def another(tags):
    """The lowest number that is not in such a list."""
    other = 0
    while holds(tags, other):
        other += 1
    return other


@lean_inline
def fill_free(tags):
    """Fills the free places of such a list with numbers that are not in it."""
    for at in range(len(tags)):
        if tags[at] < 0:
            tags[at] = another(tags)
