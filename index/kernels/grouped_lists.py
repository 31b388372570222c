"""Compiled choices of `index.base.grouped_lists`: centroids that lie group by group."""

import numpy as np

from index.compiled import lean_inline, lean_jit
from index.kernels.lanes import fill_lanes, pop_highest
from index.kernels.list_loops import is_small
from index.kernels.vectors import dot
from index.llvm.dots import WORDS, put_dots


@lean_jit
def nearest_in_groups(words, near, most, centroids, half, starts, room, scores, homes):
    """The list with the nearest centroid in the nearest groups, of each word.

    Args:
        words: less the mean, [M, W].
        near: scores of the groups for them, [M, G]; altered.
        most: so many groups are looked into.
        centroids: [n, W]; half: -|c|^2 / 2, [n].
        starts: the first centroid of each group, and n, int64 [G + 1].
        room: `LaneRoom`.
        scores: room for the lists of a group.
        homes: the lists go here, int64 [M, 1].
    """
    for i in range(len(words)):
        best, home, looked = -np.inf, np.int64(0), 0
        fill_lanes(near[i], room.lanes)
        while looked < min(most, near.shape[1]):
            pop_highest(near[i], room.lanes, room.place, 0)
            begin, end = starts[room.place[0]], starts[room.place[0] + 1]
            _put_scores(words[i], centroids, half, begin, end, False, scores)
            for j in range(end - begin):
                if scores[j] > best:
                    best, home = scores[j], begin + j
            looked += 1
        homes[i, 0] = home


@lean_jit
def choose_in_groups(
    queries,
    near,
    by_product,
    looked,
    sizes,
    budget,
    centroids,
    half,
    starts,
    group_room,
    list_room,
    scores,
    numbers,
    chosen,
    counts,
):
    """Lists until they have enough words: of the nearest groups together, then of one by one.

    Args:
        queries: less the mean, or by product, [Q, W].
        near: scores of the groups for them, [Q, G]; altered.
        by_product: whether lists are ordered by q.c, and not by the distance.
        looked: groups that are looked into together.
        sizes: `ListSizes`.
        budget: how many words are enough.
        centroids, half, starts: as of `nearest_in_groups`.
        group_room, list_room: `LaneRoom`.
        scores, numbers: room for the lists of `looked` groups.
        chosen: lists with words go here, best first, int64 [Q, C].
        counts: how many they are, int64 [Q]; -1 for all of few words.
    """
    few = is_small(0, sizes, budget)
    for q in range(len(queries)):
        counts[q] = -1
        if few:
            continue
        met, count, groups, wanted = 0, 0, 0, looked
        fill_lanes(near[q], group_room.lanes)
        while met < budget and groups < near.shape[1]:
            held = 0
            while groups < min(wanted, near.shape[1]):
                pop_highest(near[q], group_room.lanes, group_room.place, 0)
                begin, end = starts[group_room.place[0]], starts[group_room.place[0] + 1]
                _put_scores(queries[q], centroids, half, begin, end, by_product, scores[held:])
                for j in range(end - begin):
                    numbers[held + j] = begin + j
                held += end - begin
                groups += 1
            wanted = groups + 1
            mine, left = scores[:held], held
            fill_lanes(mine, list_room.lanes)
            while met < budget and left > 0:
                pop_highest(mine, list_room.lanes, list_room.place, 0)
                one = numbers[list_room.place[0]]
                if sizes.lengths[one] > 0:
                    chosen[q, count] = one
                    count += 1
                    met += sizes.lengths[one]
                left -= 1
        counts[q] = count


@lean_inline
def _put_scores(vector, centroids, half, begin, end, by_product, scores):
    """Writes c.v + half, or c.v, of centroids[begin : end]."""
    whole = end - (end - begin) % WORDS
    for at in range(begin, whole, WORDS):
        put_dots(vector, centroids, at, scores[at - begin :])
    for j in range(whole, end):
        scores[j - begin] = dot(centroids[j], vector)
    if not by_product:
        for j in range(end - begin):
            scores[j] += half[begin + j]
