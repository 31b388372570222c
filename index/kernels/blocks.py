"""Scores of a query for eight words at a time, which follow one another in an array."""

import numpy as np

from index.compiled import lean_inline
from index.kernels.vectors import closeness, dot
from index.llvm.dots import WORDS, put_distances, put_dots
from index.llvm.prefetch import prefetch_numbers


@lean_inline
def put_scores(query, words, at, end, l2, scores):
    """Writes the scores of words[at], ..., words[at + WORDS - 1], and returns where they begin.

    Args:
        query: [W] of floats.
        words: as they are kept, [R, width].
        at, end: scores of words[at : end] are wanted, one word at least.
        l2: whether a score is minus the squared distance, and not an inner product.
        scores: room for 2 WORDS.

    Returns:
        Where the score of words[at] stands. From there on WORDS scores are those of the words, or
        -inf from `end` on.
    """
    begin = min(at, len(words) - WORDS)
    if begin < 0:
        for i in range(end - at):
            word = words[at + i]
            scores[i] = closeness(word, query) if l2 else dot(word, query)
        begin = at
    elif l2:
        put_distances(query, words, begin, scores)
        for i in range(WORDS):
            scores[i] = -scores[i]
    else:
        put_dots(query, words, begin, scores)
    return close_block(scores, begin, at, end)


@lean_inline
def close_block(scores, begin, at, end):
    """Makes those scores of a block -inf that are of words from `end` on.

    Args:
        scores: of words[begin], ..., words[begin + WORDS - 1].
        begin: at most `at`.
        at, end: scores of words[at : end] are wanted.

    Returns:
        Where the score of words[at] stands.
    """
    first = at - begin
    for i in range(first + min(end - at, WORDS), first + WORDS):
        scores[i] = -np.inf
    return first


@lean_inline
def any_above(scores, first, least):
    """Whether one of WORDS scores is above the least."""
    above = 0
    for i in range(WORDS):
        above += scores[first + i] > least
    return above > 0


@lean_inline
def prefetch_block(words, at):
    """Asks the processor for words[at], ..., words[at + WORDS - 1], contiguous."""
    prefetch_numbers(words, at, 0, WORDS * words.shape[1])
