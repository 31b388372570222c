"""Compiled form of `index.centroids` and its groups: centroids put, and words assigned to them."""

import numpy as np

from index.compiled import inline, part
from index.kernels.list_moves import put_word
from index.kernels.vectors import copy, dot, empty, insert
from index.llvm.dots import WORDS, put_dots_of


@part
def leave_group(b, one, arrays):
    if arrays.group_centers.shape[1] == 0:
        return
    group = arrays.group_of[b, one]
    if group < 0:
        return
    members, last = arrays.members[b, group], arrays.sizes[b, group] - 1
    for i in range(last):
        if members[i] == one:
            members[i] = members[last]
    arrays.sizes[b, group] = last
    arrays.group_of[b, one] = -1


@inline
def put_scores_of(vector, members, centroids, half, scores):
    """Writes c.v + half of some centroids to scores[: len(members)]."""
    count = len(members)
    whole = count - count % WORDS
    for at in range(0, whole, WORDS):
        put_dots_of(vector, centroids, at, members, scores[at:])
    if whole < count and count >= WORDS:
        put_dots_of(vector, centroids, count - WORDS, members, scores[count - WORDS :])
        whole = count
    for j in range(whole, count):
        scores[j] = dot(centroids[np.int64(members[j])], vector)
    for j in range(count):
        scores[j] += half[np.int64(members[j])]


@inline
def _join_group(b, one, centroid, arrays):
    """Puts a list into the nearest group that has room; returns how many were put into another."""
    best, near, groups = arrays.half.dtype.type(-np.inf), -1, arrays.group_centers.shape[1]
    for group in range(groups):
        score = dot(arrays.group_centers[b, group], centroid) + arrays.group_half[b, group]
        full = arrays.sizes[b, group] == arrays.members.shape[2]
        if score > best and not (full and arrays.group_of[b, one] != group):
            best, near = score, group
    if near < 0 or arrays.group_of[b, one] == near:
        return 0
    leave_group(b, one, arrays)
    at = arrays.sizes[b, near]
    arrays.members[b, near, at] = one
    arrays.sizes[b, near] = at + 1
    arrays.group_of[b, one] = near
    return 1


@part
def put_centroid(b, one, centroid, arrays):
    """Gives a list a centroid; returns how many lists went to another group."""
    copy(centroid, arrays.centroids[b, one])
    for w in range(len(centroid)):
        arrays.columns[b, w, one] = centroid[w]
    arrays.half[b, one] = dot(centroid, centroid) / -2
    return _join_group(b, one, centroid, arrays)


@part
def _lists_near(b, vector, most, arrays, numbers):
    """Writes the lists in the nearest groups of a vector, or all lists; returns how many."""
    groups = arrays.group_centers.shape[1]
    count, lists = 0, arrays.centroids.shape[1]
    if groups > 0:
        scores = np.empty(min(most, groups), arrays.half.dtype)
        near = np.empty(len(scores), np.int64)
        empty(scores, near)
        for group in range(groups):
            score = dot(arrays.group_centers[b, group], vector) + arrays.group_half[b, group]
            if score > scores[-1]:
                insert(scores, near, score, group)
        for i in range(len(near)):
            if near[i] >= 0:
                for j in range(arrays.sizes[b, near[i]]):
                    numbers[count] = arrays.members[b, near[i], j]
                    count += 1
    if count == 0:
        for one in range(lists):
            if arrays.half[b, one] > -np.inf:
                numbers[count] = one
                count += 1
    return count


@part
def assign(b, near, rows, words, most, lists, arrays, numbers):
    """Moves words of a memory to the nearest of the lists around a vector.

    Args:
        b: the memory.
        near: less the center, [W].
        rows: of the words, int64 [m]; words: less the center, [m, W].
        most: groups to look into.
        lists: `ListArrays`; arrays: `CentroidArrays`.
        numbers: room, int64 [n].

    Returns:
        How many words moved; or -1 less that if the lists ran out of places.
    """
    count, moved = _lists_near(b, near, most, arrays, numbers), 0
    centroids, half, first = arrays.centroids[b], arrays.half[b], b * arrays.centroids.shape[1]
    scores = np.empty(count, half.dtype)
    for i in range(len(rows)):
        best, home = half.dtype.type(-np.inf), -1
        put_scores_of(words[i], numbers[:count], centroids, half, scores)
        for j in range(count):
            if scores[j] > best:
                best, home = scores[j], numbers[j]
        home = numbers[0] if home < 0 else home
        if np.int64(lists.list_of[rows[i], 0]) != first + home:
            if not put_word(rows[i], 0, first + home, lists):
                return -1 - moved
            moved += 1
    return moved
