"""The choices of `product`: cells of two codebooks, given the scores of all entries."""

import numpy as np

from index.compiled import jit
from index.kernels.highest import FIRST, choose_highest
from index.kernels.lanes import LANES, fill_lanes, find_highest
from index.kernels.list_loops import is_small


@jit
def nearest_cells(scores, homes):
    """Writes the nearest cell of each word to `homes`, [B, M, 1].

    Args:
        scores: of halves of words for entries of the two codebooks, [2 B, M, n].

    Returns:
        The highest scores of each word, the sum of both halves and of all words, [B, M].
    """
    lanes, many = np.empty(2 * LANES, scores.dtype), scores.shape[2]
    best = np.zeros((len(homes), homes.shape[1]), scores.dtype)
    for b in range(len(homes)):
        for i in range(homes.shape[1]):
            home = 0
            for half in range(2):
                mine = scores[2 * b + half, i]
                fill_lanes(mine, lanes)
                entry = find_highest(mine, lanes)
                home = home * many + entry
                best[b, i] += mine[entry]
            homes[b, i, 0] = home
    return best


@jit
def choose_cells(scores, lists, budget, room, chosen, counts):
    """The nearest cells of each query, until together they have enough words.

    Args:
        scores: of halves of queries for entries of the two codebooks, [2 B, Q, n].
        lists: `ListSizes` with L = 1.
        budget: how many words are enough.
        room: `LaneRoom`.
        chosen: cells with words go here, numbered through, best first, int64 [B, Q, C].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    many, batch_size = scores.shape[2], len(counts)
    sums = np.empty(many**2, scores.dtype)
    used, lengths = np.empty((2, many**2), np.uint32), np.empty(many**2, np.int64)
    order = np.empty(many**2, np.int64)
    for b in range(batch_size):
        few, mine, count = is_small(b, lists, budget), b * many**2, 0
        for row in range(0 if few else many):
            for column in range(many):
                length = lists.lengths[mine + row * many + column]
                used[0, count], used[1, count], lengths[count] = row, column, length
                count += np.int64(length > 0)
        found = FIRST
        for q in range(counts.shape[1]):
            counts[b, q] = -1
            if not few:
                first, second = scores[2 * b, q], scores[2 * b + 1, q]
                for i in range(count):
                    sums[i] = first[used[0, i]] + second[used[1, i]]
                given = sums[:count], lengths, budget, found, room, order
                found = choose_highest(*given, chosen[b, q])
                for c in range(found):
                    i = chosen[b, q, c]
                    chosen[b, q, c] = mine + np.int64(used[0, i]) * many + np.int64(used[1, i])
                counts[b, q] = found
