"""Exchanges with an index of lists from within the compiled loop of a caller.

What an exchange does in a loop is what `HashedIndex` does with it; see `index.list_exchange`, which
says when a loop may go on by itself, and does what it stops for.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_jit
from index.kernels.lists import find_near, put_nearest
from index.kernels.prepare import keep_last, scale_to, store

# Where an exchange stands: nothing is done; the words are stored, and some are in their lists; all
# are; the queries may be answered.
BEGIN, _PUT, _WORDS_IN, _SEARCH = 0, 1, 2, 3
# What a loop stops for. Below these are reasons of the caller's own.
DONE, REFUSED, NO_ROOM, UPKEEP, LOOK, SHORT = -10, -11, -12, -13, -14, -15


class Progress(NamedTuple):
    """What loops count, int64 [1] each."""

    phase: Any  # where the exchange stands
    begin: Any  # words in their lists, of those that it puts
    written: Any  # words, of all exchanges
    searches: Any  # answered
    met: Any  # words compared by the last one
    short: Any  # queries of it that found fewer words than there are


class Bounds(NamedTuple):
    """How far loops may go by themselves."""

    below: int  # every slot has to be smaller
    until_upkeep: int  # words written
    until_look: float  # cost of updates and searches
    of_word: float  # cost of a word written
    of_search: float  # cost of a search


class Settings(NamedTuple):
    """Of the index."""

    cosine: bool
    eps: float  # within norms
    by_product: bool  # whether lists are put in order by q.c
    l2: bool
    groups: int  # that a word is looked for in
    budget: int  # words that a query has to meet


class Room(NamedTuple):
    """Arrays that an exchange uses."""

    last: Any  # slots, int64 [B, M]
    words: Any  # scaled, [B, M, W]
    queries: Any  # scaled, [B, Q, W]
    lanes: Any  # `LaneRoom`
    moved: Any  # [Q, W]
    near: Any  # [1, G]
    scores: Any  # [Q, n]
    chosen: Any  # int64 [n]
    held: Any  # `code_loops.Room`


class ListExchange(NamedTuple):
    """All that exchanges of an index work on."""

    words: Any  # by slot, [B, 1 + room, W]
    penalty: Any  # [B, 1 + room]
    lists: Any  # `ListArrays`
    centroids: Any  # `CentroidArrays`
    room: Room
    settings: Settings
    bounds: Bounds
    progress: Progress


@lean_jit
def exchange(slots: Any, words: Any, queries: Any, with_: ListExchange, best: Any) -> int:
    """Puts words at slots and answers queries, or a part of it.

    Args:
        slots: int64 [B, M], -1 for none; words: [B, M, W]; queries: [B, Q, W].
        with_: of the index. `progress.phase` says where an earlier call stopped.
        best: scores and slots go here, best first, [B, Q, k].

    Returns:
        DONE. Or what has to be done before this is called again: NO_ROOM, lists have to be packed;
        UPKEEP, or LOOK. Or REFUSED: a vector is not finite, their sum is not, or a slot is out of
        range; nothing is changed then. Or SHORT: all is done, but some queries found less than
        there is.

    Cost: that of `put_nearest` and `find_near`.
    """
    progress, room, settings, bounds = with_.progress, with_.room, with_.settings, with_.bounds
    if progress.phase[0] == BEGIN:
        how = settings.cosine, settings.eps
        total = scale_to(words, room.words, 0, *how) + scale_to(queries, room.queries, 0, *how)
        low, high = keep_last(slots, room.last)
        if not -np.inf < total < np.inf or low < -1 or high >= bounds.below:
            return REFUSED
        store(room.last, room.words, with_.words, with_.penalty)
        progress.phase[0], progress.begin[0] = _PUT, 0
    if progress.phase[0] == _PUT:
        rooms = room.lanes, room.moved[:1], room.near, room.scores[:1]
        given = room.last, room.words, settings.groups, with_.centroids, with_.lists
        progress.begin[0] = put_nearest(*given, *rooms, progress.begin[0])
        if progress.begin[0] < slots.size:
            return NO_ROOM
        for b in range(slots.shape[0]):
            for i in range(slots.shape[1]):
                progress.written[0] += np.int64(room.last[b, i] >= 0)
        progress.phase[0] = _WORDS_IN
        if progress.written[0] >= bounds.until_upkeep:
            return UPKEEP
    if progress.phase[0] == _WORDS_IN:
        spent = progress.written[0] * bounds.of_word
        spent += (progress.searches[0] + 1) * bounds.of_search
        if spent >= bounds.until_look:
            return LOOK
        progress.phase[0] = _SEARCH
    how = settings.by_product, settings.l2, settings.budget, with_.centroids, with_.lists
    rooms = room.lanes, room.chosen, (room.moved, room.scores, room.held)
    progress.met[0], progress.short[0] = find_near(room.queries, *how, *rooms, best)
    progress.phase[0] = BEGIN
    progress.searches[0] += 1
    return SHORT if progress.short[0] > 0 else DONE
