"""Compiled choices of `index.base.grouped_lists`: coded centroids that lie group by group."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.code_loops import prefetch_codes, round_query
from index.kernels.highest import choose_highest
from index.kernels.lanes import LaneRoom
from index.kernels.list_loops import is_small
from index.kernels.vectors import empty, insert
from index.list_copies import BLOCK
from index.llvm.code_bounds import put_code_scores
from index.llvm.compared import lowest_bit

_MORE = 4  # lists that are taken beyond those thought to be needed
MOST_KEPT = 48  # lists up to which the best are kept in order while others are compared


class CodedCentroids(NamedTuple):
    """Centroids as `index.base.coded.CodedVectors`, group by group, and the centers of the groups.

    Of each there is a half, -|c|^2 / 2, or 0 where lists are ordered by q.c, float32 [16 blocks].
    """

    codes: Any  # int8 [blocks, ceil(W / 2), 16, 2]
    scales: Any  # float32 [16 blocks]
    half: Any
    starts: Any  # the first centroid of each group, and n at the end, int64 [G + 1]
    group_codes: Any
    group_scales: Any
    group_half: Any
    center: Any  # what is taken from words and queries first, [W]


class Room(NamedTuple):
    """Arrays that the loops use."""

    lanes: LaneRoom
    moved: Any  # a word or query less the center, [W]
    pairs: Any  # of its integers, int32 [ceil(W / 2)]
    block: Any  # scores of a block
    near: Any  # of the groups, [G]
    scores: Any  # of the lists that are compared
    order: Any  # int64, as many as there are scores or groups
    best: Any  # likewise
    groups: Any  # int64 [G], nearest first
    begins: Any  # of the scores of each group, int64 [G + 1]
    ones: Any  # int64, as many as there are scores or groups
    kept: Any  # the highest scores so far, [MOST_KEPT]

    @classmethod
    def of(cls, width: int, groups: int, lists: int) -> "Room":
        """For so many numbers of a word, groups, and lists that are compared together."""
        most = max(groups, lists, MOST_KEPT)
        return cls(
            LaneRoom.of(np.float32),
            np.empty(width, np.float32),
            np.empty((width + 1) // 2, np.int32),
            np.empty(BLOCK, np.float32),
            np.empty(groups, np.float32),
            np.empty(lists, np.float32),
            np.empty(most, np.int64),
            np.empty(most, np.int64),
            np.empty(groups, np.int64),
            np.empty(groups + 1, np.int64),
            np.ones(most, np.int64),
            np.empty(MOST_KEPT, np.float32),
        )


@lean_jit
def nearest_in_groups(words, which, most, centroids, room, values, homes):
    """The list with the nearest centroid in the nearest groups, of some words.

    Args:
        words: [M, W].
        which: numbers of words, int64 [m].
        most: so many groups are looked into.
        centroids: `CodedCentroids`.
        room: `Room` for the lists of a group.
        values: c.x - |c|^2 / 2 of the nearest centroid goes here, [M].
        homes: the lists go here, int64 [M].
    """
    for i in which:
        best, home = -np.float32(np.inf), np.int64(0)
        factor, found = _nearest_groups(words[i], most, centroids, room)
        for g in range(found):
            begin, end = centroids.starts[room.groups[g]], centroids.starts[room.groups[g] + 1]
            ahead = centroids.starts[room.groups[min(g + 1, found - 1)]]
            best, home = _nearer(
                factor, centroids, begin, end, ahead, room.pairs, room.block, best, home
            )
        values[i], homes[i] = best, home


@lean_jit
def choose_in_groups(queries, looked, sizes, budget, centroids, room, chosen, counts):
    """`choose_lists` for each query.

    Args:
        queries: [Q, W].
        chosen: lists with words go here, best first, int64 [Q, C].
        counts: how many they are, int64 [Q]; -1 for all, of few words or where scores overflow.
    """
    how = looked, budget
    for q in range(len(queries)):
        counts[q] = choose_lists(queries[q], how, sizes, centroids, room, chosen[q])


@lean_inline
def choose_lists(query, how, sizes, centroids, room, chosen):
    """Lists until they have enough words: of the nearest groups together, then of one by one.

    Args:
        query: [W].
        how: how many groups are looked into together, and how many words are enough.
        sizes: `ListSizes`.
        centroids: `CodedCentroids`.
        room: `Room` for the lists of so many groups.
        chosen: lists with words go here, best first, int64 [C].

    Returns:
        How many they are; -1 for all, of few words or where scores overflow.
    """
    looked, budget = how
    if is_small(0, sizes, budget):
        return np.int64(-1)
    wanted = budget // max(1, sizes.totals[0] // len(sizes.lengths)) + _MORE
    factor, found = _nearest_groups(query, looked, centroids, room)
    if wanted <= MOST_KEPT and found == looked:
        given = sizes, budget, centroids, room, chosen
        count = _choose_few(factor, found, wanted, *given)
        if count >= 0:
            return count
    return _choose_many(factor, how, found, sizes, centroids, room, chosen)


@lean_inline
def _nearest_groups(vector, most, centroids, room):
    """Writes the nearest groups of a word or query, and its integers, to the room.

    Returns:
        What the integers have to be multiplied by, and how many groups there are.
    """
    for w in range(len(room.moved)):
        room.moved[w] = vector[w] - centroids.center[w]
    factor = round_query(room.moved, room.pairs)[0]
    given = centroids.group_codes, centroids.group_scales, centroids.group_half
    groups = len(room.near)
    _put_scores(factor, given, 0, groups, 0, room, room.near)
    return factor, _highest(room.near, most, room, room.groups)


@lean_inline
def _choose_few(factor, found, wanted, sizes, budget, centroids, room, chosen):
    """The lists of the first groups, if so many as are wanted have enough words; or -1."""
    kept, best = room.kept[:wanted], room.best[:wanted]
    empty(kept, best)
    for g in range(found):
        begin, end = centroids.starts[room.groups[g]], centroids.starts[room.groups[g] + 1]
        ahead = centroids.starts[room.groups[min(g + 1, found - 1)]]
        _keep_highest(factor, centroids, begin, end, ahead, room, kept, best)
    met, count = np.int64(0), np.int64(0)
    for one in best:
        if met < budget and one >= 0 and sizes.lengths[one] > 0:
            chosen[count] = one
            count += 1
            met += sizes.lengths[one]
    return count if met >= budget else np.int64(-1)


@lean_inline
def _keep_highest(factor, centroids, begin, end, ahead, room, kept, best):
    """Puts those of centroids begin .. end - 1 among the best so far that have higher scores.

    Others are prefetched as in `_put_scores`.
    """
    codes, scales, half, block = centroids.codes, centroids.scales, centroids.half, room.block
    following, least = ahead // BLOCK - begin // BLOCK, kept[-1]
    for at in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if following != 0:
            prefetch_codes(codes, scales, at + following)
        above = put_code_scores(room.pairs, codes, scales, half, at, factor, least, block)
        first = at * BLOCK
        while above != 0:
            i = lowest_bit(above)
            above &= above - 1
            if begin <= first + i < end and block[i] > least:
                insert(kept, best, block[i], first + i)
                least = kept[-1]


@lean_inline
def _choose_many(factor, how, found, sizes, centroids, room, chosen):
    """`choose_lists` for any number of lists, where the nearest groups are known."""
    looked, budget = how
    total, groups = sizes.totals[0], len(room.near)
    a_list = max(1, total // len(sizes.lengths))
    met, count, done, ahead = np.int64(0), np.int64(0), np.int64(0), looked
    given = centroids.codes, centroids.scales, centroids.half
    while met < budget and done < groups:
        if done == ahead:  # twice as many as before
            ahead = min(groups, 2 * done)
            found = _highest(room.near, ahead, room, room.groups)
        if found < ahead:
            break
        together = looked if done == 0 else 1
        held = np.int64(0)
        for g in range(done, done + together):
            begin, end = centroids.starts[room.groups[g]], centroids.starts[room.groups[g] + 1]
            room.begins[g - done] = held
            after = centroids.starts[room.groups[min(g + 1, done + together - 1)]]
            some = room.scores[held:]
            _put_scores(factor, given, begin, end, after, room, some)
            held += end - begin
        wanted, seen = (budget - met) // a_list + _MORE, np.int64(0)
        while met < budget and seen < held:
            wanted = min(wanted, held)
            found_here = _highest(room.scores[:held], wanted, room, room.best)
            for i in range(seen, found_here):
                at, g = room.best[i], together - 1
                while room.begins[g] > at:
                    g -= 1
                one = centroids.starts[room.groups[done + g]] + at - room.begins[g]
                if met < budget and sizes.lengths[one] > 0:
                    chosen[count] = one
                    count += 1
                    met += sizes.lengths[one]
            seen = held if found_here < wanted else found_here
            wanted *= 4
        done += together
    return count if met >= min(budget, total) else np.int64(-1)


@lean_inline
def _highest(values, count, room, best):
    """Writes the positions of so many of the highest values, best first; returns how many."""
    given = values, room.ones[: len(values)], count, count
    return choose_highest(*given, room.lanes, room.order, best)


@lean_inline
def _nearer(factor, centroids, begin, end, ahead, pairs, block, best, home):
    """The score and number of the nearest of centroids begin .. end - 1, if above the best so far.

    Others are prefetched as in `_put_scores`.
    """
    codes, scales, half = centroids.codes, centroids.scales, centroids.half
    following = ahead // BLOCK - begin // BLOCK
    for at in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if following != 0:
            prefetch_codes(codes, scales, at + following)
        above = put_code_scores(pairs, codes, scales, half, at, factor, best, block)
        first = at * BLOCK
        while above != 0:
            i = lowest_bit(above)
            above &= above - 1
            if begin <= first + i < end and block[i] > best:
                best, home = block[i], first + i
    return best, home


@lean_inline
def _put_scores(factor, coded, begin, end, ahead, room, scores):
    """Writes c.v + half of coded vectors begin .. end - 1 for a rounded one.

    coded: codes, scales and halves. Meanwhile those from `ahead` on are prefetched.
    """
    codes, scales, half = coded
    least, following = np.float32(np.inf), ahead // BLOCK - begin // BLOCK
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if following != 0:
            prefetch_codes(codes, scales, block + following)
        first = block * BLOCK
        given = room.pairs, codes, scales, half, block, factor, least
        if begin <= first and first + BLOCK <= end:
            put_code_scores(*given, scores[first - begin :])
        else:
            put_code_scores(*given, room.block)
            low, high = max(begin, first), min(end, first + BLOCK)
            mine, held = scores[low - begin :], room.block[low - first :]
            for i in range(high - low):
                mine[i] = held[i]
