"""Compiled form of `index.list_work`: lists divided, given up, tightened and visited."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import inline, jit, part
from index.inverted_lists import TOO_LARGE
from index.kernels.centroid_loops import assign, leave_group, put_centroid
from index.kernels.copies import exact_word
from index.kernels.kept import number, scale_of
from index.kernels.list_kmeans import kmeans_of_list
from index.kernels.list_moves import change_piece, drop_piece, piece_size, spare_room
from index.kernels.vectors import copy, empty, insert

DONE, NO_LISTS, NO_PLACES = 0, 1, 2


class Rules(NamedTuple):
    """The numbers of `index.list_work`."""

    ideal: Any  # words that a list of each memory should have, int64 [B]
    long: int  # times that a list is divided
    short: float  # times that it is given up
    most_given_up: int  # of each memory
    most_tightened: int
    most_parts: int
    iterations: int
    groups: int  # that words are compared with


@part
def _words_of(one, lists, center, rows, words):
    """Rows and words of a list, less the center."""
    start = lists.starts[one]
    for i in range(lists.lengths[one]):
        row, out = np.int64(lists.held_rows[start + i]), words[i]
        rows[i] = row
        kept = exact_word(lists, start + i, row)
        scale = scale_of(kept, center)
        for w in range(len(out)):
            out[w] = scale * number(kept[w]) - center[w]


@inline
def _sort(rows):
    """Sorts numbers, the lowest first (Shell's way)."""
    gap = len(rows) // 2
    while gap > 0:
        for i in range(gap, len(rows)):
            row, at = rows[i], i
            while at >= gap and rows[at - gap] > row:
                rows[at] = rows[at - gap]
                at -= gap
            rows[at] = row
        gap = 1 if 2 <= gap < 4 else gap * 4 // 9


@inline
def stride_of(count):
    """See `index.list_work.spread_order`."""
    stride = max(1, count * 5 // 8)
    while True:
        a, b = count, stride
        while b > 0:
            a, b = b, a % b
        if a == 1:
            return stride
        stride += 1


@jit
def split(b, which, rules, lists, arrays, tried):
    """Divides a list of a memory by k-means among its words.

    Returns DONE or NO_PLACES, and how many lists went to another group; or NO_LISTS, and how many
    it should become: then nothing has changed. With NO_PLACES the lists have to be packed.
    """
    many, width = arrays.centroids.shape[1], arrays.centroids.shape[2]
    one, ideal = b * many + which, rules.ideal[b]
    count = lists.lengths[one]
    parts = min(max(2, count // ideal), rules.most_parts)
    rows, words = np.empty(count, np.int64), np.empty((count, width), arrays.half.dtype)
    _words_of(one, lists, arrays.center[b], rows, words)
    ordered = np.empty(count, np.int64)
    copy(rows, ordered)
    _sort(ordered)
    size, stride = min(count, 64 * parts), stride_of(count)
    sample, start = np.empty((size, width), words.dtype), lists.starts[one]
    for i in range(size):
        row = ordered[i * stride % count]
        copy(words[lists.place_of[row, 0] - start], sample[i])
    found, counts = np.empty((parts, width), words.dtype), np.empty(parts, np.int64)
    kmeans_of_list(sample, found, counts, rules.iterations)
    least, good = max(1.0, rules.short * ideal) * size, 0
    for i in range(parts):
        if counts[i] * count >= least:
            copy(found[i], found[good])
            good += 1
    if good < 2:
        tried[b, which] = count * 5 // 4
        return DONE, 0
    taken = np.empty(good, np.int64)
    taken[0], free = which, 1
    for other in range(many):
        is_free = arrays.half[b, other] == -np.inf and lists.lengths[b * many + other] == 0
        if free < good and is_free:
            taken[free] = other
            free += 1
    if free < good:
        return NO_LISTS, good
    near, changes = np.empty(width, words.dtype), 0
    copy(arrays.centroids[b, which], near)
    for i in range(good):
        changes += put_centroid(b, taken[i], found[i], arrays)
    numbers = np.empty(many, np.int64)
    moved = assign(b, near, rows, words, rules.groups, lists, arrays, numbers)
    return (NO_PLACES if moved < 0 else DONE), changes


@part
def _give_up(b, rules, lists, arrays, numbers):
    """Gives up the shortest of the lists with few words; returns whether there were places."""
    many, width = arrays.centroids.shape[1], arrays.centroids.shape[2]
    first, least = b * many, rules.ideal[b] * rules.short
    alive, short, spared = 0, 0, -1
    for one in range(many):
        if arrays.half[b, one] > -np.inf:
            alive += 1
            if lists.lengths[first + one] < least:
                short += 1
                spared = one if spared < 0 else spared
    if short == 0:
        return True
    spared = spared if short == alive else -1
    lengths, chosen = np.empty(rules.most_given_up), np.empty(rules.most_given_up, np.int64)
    empty(lengths, chosen)
    for one in range(many):
        length = lists.lengths[first + one]
        fits = arrays.half[b, one] > -np.inf and length < least and one != spared
        if fits and -length > lengths[-1]:
            insert(lengths, chosen, -float(length), one)
    for i in range(len(chosen)):
        if chosen[i] >= 0:
            arrays.half[b, chosen[i]] = -np.inf
            leave_group(b, chosen[i], arrays)
    for i in range(len(chosen)):
        one = chosen[i]
        if one < 0 or lists.lengths[first + one] == 0:
            continue
        count, near = lists.lengths[first + one], arrays.centroids[b, one]
        rows, words = np.empty(count, np.int64), np.empty((count, width), arrays.half.dtype)
        _words_of(first + one, lists, arrays.center[b], rows, words)
        if assign(b, near, rows, words, rules.groups, lists, arrays, numbers) < 0:
            for other in range(i, len(chosen)):  # what still has words is used again
                if chosen[other] >= 0 and lists.lengths[first + chosen[other]] > 0:
                    put_centroid(b, chosen[other], arrays.centroids[b, chosen[other]], arrays)
            return False
    return True


@part
def _tighten(most, lists):
    """`InvertedLists.tighten`; returns whether there were places."""
    for one in range(len(lists.starts)):
        length, room = lists.lengths[one], lists.rooms[one]
        if room <= TOO_LARGE * spare_room(length) and (length > 0 or room == 0):
            continue  # a piece is never smaller than the room that is needed
        wanted = piece_size(spare_room(length)) if length > 0 else 0
        if room > TOO_LARGE * wanted:
            if most == 0:
                break
            most -= 1
            if length == 0:
                drop_piece(one, lists)
            elif not change_piece(one, wanted, 0, lists):
                return False
    return True


@jit
def visit(b, begin, end, rules, lists, arrays):
    """Moves centroids to the mean of their words, and these to the nearest centroid.

    Returns:
        Words looked at; how many of them moved, or -1 less that if the lists ran out of
        places; and how many lists went to another group.
    """
    many, width = arrays.centroids.shape[1], arrays.centroids.shape[2]
    first, total, changes, numbers = b * many, 0, 0, np.empty(many, np.int64)
    for one in range(begin, end):
        total += lists.lengths[first + one]
    rows, words = np.empty(total, np.int64), np.empty((total, width), arrays.half.dtype)
    at, ends = 0, np.empty(end - begin, np.int64)
    mean = np.empty(width, arrays.half.dtype)
    for one in range(begin, end):
        count = lists.lengths[first + one]
        mine = words[at : at + count]
        _words_of(first + one, lists, arrays.center[b], rows[at : at + count], mine)
        at += count
        ends[one - begin] = at
        if count > 0:
            for w in range(width):
                mean[w] = 0
            for i in range(count):
                for w in range(width):
                    mean[w] += mine[i, w] / count
            changes += put_centroid(b, one, mean, arrays)
    at, moved = 0, 0
    for one in range(begin, end):
        stop = ends[one - begin]
        if stop > at:
            some = assign(
                b,
                arrays.centroids[b, one],
                rows[at:stop],
                words[at:stop],
                rules.groups,
                lists,
                arrays,
                numbers,
            )
            if some < 0:
                return total, some - moved, changes
            moved += some
        at = stop
    return total, moved, changes


@jit
def find_long(rules, lists, arrays, tried, chosen):
    """Finds the longest of the lists that are to be divided; returns how many of these there are.

    Args:
        rules: `Rules`.
        lists: `ListArrays`, with one table; arrays: `CentroidArrays`.
        tried: length up to which dividing a list is of no use, int64 [B, n].
        chosen: the lists go here, numbered through, the longest first, int64 [m]; else -1.
    """
    lengths, long, many = np.empty(len(chosen)), 0, arrays.half.shape[1]
    empty(lengths, chosen)
    for b in range(len(arrays.half)):
        for one in range(many):
            length = lists.lengths[b * many + one]
            if length > max(rules.long * rules.ideal[b], tried[b, one]):
                long += 1
                if length > lengths[-1]:
                    insert(lengths, chosen, float(length), b * many + one)
    return long


@jit
def give_up_and_tighten(rules, lists, arrays):
    """Gives up short lists and gives others smaller pieces; returns whether there were places."""
    numbers = np.empty(arrays.half.shape[1], np.int64)
    for b in range(len(arrays.half)):
        if not _give_up(b, rules, lists, arrays, numbers):
            return False
    return _tighten(rules.most_tightened, lists)
