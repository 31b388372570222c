"""The choices of `ivf`: inverted lists, given the scores of all centroids."""

import numpy as np

from index.compiled import jit
from index.kernels.lanes import LANES, fill_lanes, find_highest, pop_highest
from index.kernels.list_loops import words_in


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
        lists: `ListArrays` with L = 1.
        budget: how many words are enough.
        chosen: lists with words go here, numbered through, best first, int64 [B, Q, n].
        counts: how many they are, int64 [B, Q]; -1 for all of a memory with few words.
    """
    lanes, places = np.empty(2 * LANES, scores.dtype), np.empty(1, np.int64)
    many = scores.shape[2]
    for b in range(len(scores)):
        few = words_in(b, 1, len(scores), lists) <= budget
        for q in range(scores.shape[1]):
            counts[b, q] = -1 if few else 0
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
