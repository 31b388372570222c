"""Compiled choices of `index.base.grouped_lists`: coded centroids that lie group by group."""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.code_loops import prefetch_codes, round_query
from index.kernels.highest import choose_highest
from index.kernels.lanes import LaneRoom
from index.kernels.list_loops import is_small
from index.list_copies import BLOCK
from index.llvm.code_bounds import put_code_bounds

_MORE = 4  # lists that are taken beyond those thought to be needed


class CodedCentroids(NamedTuple):
    """Centroids as `index.base.coded.CodedVectors`, group by group."""

    codes: Any  # int8 [blocks, ceil(W / 2), 16, 2]
    scales: Any  # float32 [16 blocks]
    half: Any  # -|c|^2 / 2, float32 [16 blocks]
    starts: Any  # the first centroid of each group, and n at the end, int64 [G + 1]


class Room(NamedTuple):
    """Arrays that the loops use."""

    lanes: LaneRoom
    pairs: Any  # of the query's integers, int32 [ceil(W / 2)]
    block: Any  # scores of a block
    scores: Any  # of the lists that are compared
    order: Any  # int64, as many as there are scores or groups
    best: Any  # likewise
    groups: Any  # int64 [G], nearest first
    begins: Any  # of the scores of each group, int64 [G + 1]
    ones: Any  # int64, as many as there are scores or groups

    @classmethod
    def of(cls, width: int, groups: int, lists: int) -> "Room":
        """For so many numbers of a word, groups, and lists that are compared together."""
        most = max(groups, lists)
        order, best = np.empty(most, np.int64), np.empty(most, np.int64)
        return cls(
            LaneRoom.of(np.float32),
            np.empty((width + 1) // 2, np.int32),
            np.empty(BLOCK, np.float32),
            np.empty(lists, np.float32),
            order,
            best,
            np.empty(groups, np.int64),
            np.empty(groups + 1, np.int64),
            np.ones(most, np.int64),
        )


@lean_jit
def nearest_in_groups(words, near, which, most, centroids, room, values, homes):
    """The list with the nearest centroid in the nearest groups, of some words.

    Args:
        words: less the mean, [M, W].
        near: scores of the groups for them, [M, G].
        which: numbers of words, int64 [m].
        most: so many groups are looked into.
        centroids: `CodedCentroids`.
        room: `Room` for the lists of a group.
        values: c.x - |c|^2 / 2 of the nearest centroid goes here, [M].
        homes: the lists go here, int64 [M].
    """
    for i in which:
        best, home = -np.float32(np.inf), np.int64(0)
        factor = round_query(words[i], room.pairs)[0]
        found = _highest(near[i], most, room, room.groups)
        for g in range(found):
            begin, end = centroids.starts[room.groups[g]], centroids.starts[room.groups[g] + 1]
            ahead = centroids.starts[room.groups[min(g + 1, found - 1)]]
            best, home = _nearer(
                factor, centroids, begin, end, ahead, room.pairs, room.block, best, home
            )
        values[i], homes[i] = best, home


@lean_jit
def choose_in_groups(
    queries, near, by_product, looked, sizes, budget, centroids, room, chosen, counts
):
    """Lists until they have enough words: of the nearest groups together, then of one by one.

    Args:
        queries: less the mean, or by product, [Q, W].
        near: scores of the groups for them, [Q, G].
        by_product: whether lists are ordered by q.c, and not by the distance.
        looked: groups that are looked into together.
        sizes: `ListSizes`.
        budget: how many words are enough.
        centroids: `CodedCentroids`.
        room: `Room` for the lists of `looked` groups.
        chosen: lists with words go here, best first, int64 [Q, C].
        counts: how many they are, int64 [Q]; -1 for all, of few words or where scores overflow.
    """
    few = is_small(0, sizes, budget)
    total, groups = sizes.totals[0], near.shape[1]
    a_list = max(1, total // len(sizes.lengths))
    for q in range(len(queries)):
        counts[q] = -1
        if few:
            continue
        factor = round_query(queries[q], room.pairs)[0]
        met, count, done, ahead = np.int64(0), np.int64(0), np.int64(0), np.int64(0)
        while met < budget and done < groups:
            if done == ahead:  # the first groups, then twice as many as before
                ahead = min(groups, looked if done == 0 else 2 * done)
                if _highest(near[q], ahead, room, room.groups) < ahead:
                    break
            together = min(groups - done, looked if done == 0 else 1)
            held = np.int64(0)
            for g in range(done, done + together):
                begin, end = centroids.starts[room.groups[g]], centroids.starts[room.groups[g] + 1]
                room.begins[g - done] = held
                after = centroids.starts[room.groups[min(g + 1, done + together - 1)]]
                some = room.scores[held:]
                _put_scores(factor, centroids, begin, end, after, by_product, room, some)
                held += end - begin
            wanted, seen = (budget - met) // a_list + _MORE, np.int64(0)
            while met < budget and seen < held:
                wanted = min(wanted, held)
                found = _highest(room.scores[:held], wanted, room, room.best)
                for i in range(seen, found):
                    at, g = room.best[i], together - 1
                    while room.begins[g] > at:
                        g -= 1
                    one = centroids.starts[room.groups[done + g]] + at - room.begins[g]
                    if met < budget and sizes.lengths[one] > 0:
                        chosen[q, count] = one
                        count += 1
                        met += sizes.lengths[one]
                seen = held if found < wanted else found
                wanted *= 4
            done += together
        counts[q] = count if met >= min(budget, total) else -1


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
    nothing, following = np.float32(0), ahead // BLOCK - begin // BLOCK
    for at in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if following != 0:
            prefetch_codes(codes, scales, at + following)
        put_code_bounds(pairs, codes, scales, at, factor, nothing, nothing, block)
        first, above = at * BLOCK, 0
        mine = half[first : first + BLOCK]
        for i in range(BLOCK):
            block[i] += mine[i]
            above += block[i] > best
        if above > 0:
            for one in range(max(begin, first), min(end, first + BLOCK)):
                if block[one - first] > best:
                    best, home = block[one - first], one
    return best, home


@lean_inline
def _put_scores(factor, centroids, begin, end, ahead, by_product, room, scores):
    """Writes c.v + half, or c.v, of centroids begin .. end - 1 for a rounded vector.

    Meanwhile the centroids from `ahead` on are prefetched.
    """
    codes, scales, half = centroids.codes, centroids.scales, centroids.half
    nothing, following = np.float32(0), ahead // BLOCK - begin // BLOCK
    for block in range(begin // BLOCK, (end + BLOCK - 1) // BLOCK):
        if following != 0:
            prefetch_codes(codes, scales, block + following)
        put_code_bounds(room.pairs, codes, scales, block, factor, nothing, nothing, room.block)
        first = block * BLOCK
        low, high = max(begin, first), min(end, first + BLOCK)
        mine, held = scores[low - begin :], room.block[low - first :]
        for i in range(high - low):
            mine[i] = held[i]
    if not by_product:
        mine = half[begin:end]
        for j in range(end - begin):
            scores[j] += mine[j]
