"""The choices of `ivf`: inverted lists, by the scores of all centroids or of those in groups."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.lanes import LANES, fill_lanes, find_highest, pop_highest
from index.kernels.list_loops import is_small
from index.kernels.vectors import dot


@jit
def nearest_lists(scores, homes):
    """Writes the list of the highest score of each word, [B, M, n], to `homes` [B, M, 1]."""
    lanes = np.empty(2 * LANES, scores.dtype)
    for b in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            fill_lanes(scores[b, i], lanes)
            homes[b, i, 0] = find_highest(scores[b, i], lanes)


@jit
def choose_lists(scores, lists, budget, chosen, counts):
    """The lists with the highest scores, until together they have enough words.

    Args:
        scores: of each query for each list, -inf for no list, [B, Q, n]; altered.
        lists: `ListSizes` with L = 1.
        budget: how many words are enough.
        chosen: lists with words go here, numbered through, best first, int64 [B, Q, n].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    lanes, places = np.empty(2 * LANES, scores.dtype), np.empty(1, np.int64)
    many = scores.shape[2]
    for b in range(len(scores)):
        few = is_small(b, lists, budget)
        for q in range(scores.shape[1]):
            counts[b, q] = -1
            if few:
                continue
            mine, met, count = scores[b, q], 0, 0
            fill_lanes(mine, lanes)
            while met < budget and pop_highest(mine, lanes, places, 0) > -np.inf:
                one = b * many + places[0]
                if lists.lengths[one] > 0:
                    chosen[b, q, count] = one
                    count += 1
                    met += lists.lengths[one]
            counts[b, q] = count


@inline
def _members(vector, near, most, groups, memory, lanes, centroids, half, numbers, scores):
    """Scores of the lists in the nearest groups of a vector; returns how many they are.

    Args:
        near: scores of the groups, [G]; altered.
        most: so many groups.
        numbers, scores: the lists and their scores go here, [n].
    """
    fill_lanes(near, lanes)
    group, count = np.empty(1, np.int64), 0
    for _ in range(min(most, len(near))):
        pop_highest(near, lanes, group, 0)
        members = groups.members[memory, group[0]]
        for j in range(groups.sizes[memory, group[0]]):
            number = np.int64(members[j])
            numbers[count] = number
            scores[count] = dot(centroids[number], vector) + half[number]
            count += 1
    return count


@jit
def nearest_in_groups(words, near, most, arrays, homes):
    """`nearest_lists` among the lists of the nearest groups.

    Args:
        words: less the mean, [B, M, W].
        near: scores of the groups for them, [B, M, G]; altered.
        most: so many groups are looked into.
        arrays: `CentroidArrays`.
        homes: the lists go here, [B, M, 1].
    """
    centroids, half = arrays.centroids, arrays.half
    many = centroids.shape[1]
    lanes, numbers = np.empty(2 * LANES, words.dtype), np.empty(many, np.int64)
    scores = np.empty(many, words.dtype)
    for b in range(words.shape[0]):
        for i in range(words.shape[1]):
            count = _members(
                words[b, i], near[b, i], most, arrays, b, lanes, centroids[b], half[b],
                numbers, scores,
            )  # fmt: skip
            best, home = scores.dtype.type(-np.inf), 0
            for j in range(count):
                if scores[j] > best:
                    best, home = scores[j], numbers[j]
            if count == 0:
                for number in range(many):
                    score = dot(centroids[b, number], words[b, i]) + half[b, number]
                    if score > best:
                        best, home = score, number
            homes[b, i, 0] = home
