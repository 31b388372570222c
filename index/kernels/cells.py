"""The choices of `product`: cells of two codebooks, given the scores of all entries."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.lanes import LANES, fill_lanes, find_highest, pop_highest
from index.kernels.list_loops import is_small


@inline
def _choose(first, second, lanes, high, entries, steps, mine, budget, chosen):
    """The cells with the highest sums of a score of each half, until they have enough words.

    Row i of all sums is that of the i-th highest score of the first half, and falls from left to
    right; no row but the first can matter before the one above it was begun.

    Args:
        first, second: scores of the halves, [n]; altered.
        lanes: [2, 2 LANES]; high, entries: [2, n]; steps: [n]; buffers.
        mine: how many words each cell has, [n^2].
        budget: how many words are enough.
        chosen: cells with words go here.

    Returns:
        How many cells were chosen.
    """
    left, right, many = high[0], high[1], len(first)
    fill_lanes(first, lanes[0])
    fill_lanes(second, lanes[1])
    left[0] = pop_highest(first, lanes[0], entries[0], 0)
    right[0] = pop_highest(second, lanes[1], entries[1], 0)
    rows, columns, met, count = 1, 1, 0, 0  # rows and columns that are known
    steps[0] = 0
    for _ in range(many**2):
        row, best = -1, left[0]
        for i in range(rows):
            if steps[i] < many and (row < 0 or left[i] + right[steps[i]] > best):
                row, best = i, left[i] + right[steps[i]]
        cell = entries[0, row] * many + entries[1, steps[row]]
        if mine[cell] > 0:
            chosen[count] = cell
            count += 1
            met += mine[cell]
            if met >= budget:
                break
        steps[row] += 1
        if row == rows - 1 and rows < many:
            left[rows] = pop_highest(first, lanes[0], entries[0], rows)
            steps[rows] = 0
            rows += 1
        if steps[row] == columns and columns < many:
            right[columns] = pop_highest(second, lanes[1], entries[1], columns)
            columns += 1
    return count


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
def choose_cells(scores, lists, budget, chosen, counts):
    """The nearest cells of each query, until together they have enough words.

    Args:
        scores: of halves of queries for entries of the two codebooks, [2 B, Q, n]; altered.
        lists: `ListSizes` with L = 1.
        budget: how many words are enough.
        chosen: cells with words go here, numbered through, best first, int64 [B, Q, n^2].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    many, batch_size = scores.shape[2], len(counts)
    lanes, high = np.empty((2, 2 * LANES), scores.dtype), np.empty((2, many), scores.dtype)
    entries, steps = np.empty((2, many), np.int64), np.empty(many, np.int64)
    for b in range(batch_size):
        few = is_small(b, lists, budget)
        mine = lists.lengths[b * many**2 : (b + 1) * many**2]
        for q in range(counts.shape[1]):
            counts[b, q] = -1
            if not few:
                first, second, cells = scores[2 * b, q], scores[2 * b + 1, q], chosen[b, q]
                count = _choose(first, second, lanes, high, entries, steps, mine, budget, cells)
                for c in range(count):
                    cells[c] += b * many**2
                counts[b, q] = count
