"""The exchange of `product`: cells of two codebooks, given the scores of all entries."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.bucket_loops import insert_further, insert_words, look
from index.kernels.lanes import LANES, fill_lanes, find_highest, pop_highest
from index.kernels.vectors import dot


@inline
def _combine(first, second, most, lanes, high, entries, steps, cells):
    """The cells with the highest sums of a score of each half, from the highest on.

    Row i of all sums is that of the i-th highest score of the first half, and falls from left to
    right; no row but the first can matter before the one above it was begun.

    Args:
        first, second: scores of the halves, [n]; altered.
        most: only so many of each half are combined.
        lanes: [2, 2 LANES]; high, entries: [2, most]; steps: [most]; buffers.
        cells: the cells go here.
    """
    left, right, many = high[0], high[1], len(first)
    fill_lanes(first, lanes[0])
    fill_lanes(second, lanes[1])
    left[0] = pop_highest(first, lanes[0], entries[0], 0)
    right[0] = pop_highest(second, lanes[1], entries[1], 0)
    rows, columns = 1, 1  # that are known
    steps[0] = 0
    for found in range(len(cells)):
        row, best = -1, left[0]
        for i in range(rows):
            if steps[i] < most and (row < 0 or left[i] + right[steps[i]] > best):
                row, best = i, left[i] + right[steps[i]]
        cells[found] = entries[0, row] * many + entries[1, steps[row]]
        steps[row] += 1
        if row == rows - 1 and rows < most:
            left[rows] = pop_highest(first, lanes[0], entries[0], rows)
            steps[rows] = 0
            rows += 1
        if steps[row] == columns and columns < most:
            right[columns] = pop_highest(second, lanes[1], entries[1], columns)
            columns += 1


@jit
def exchange_cells(inputs, scores, spill, each, probes):
    """Moves M words to their nearest cells, then answers Q queries.

    Args:
        inputs: `index.hashing.ExchangeInputs`.
        scores: of halves of vectors for entries of the two codebooks, [2 B, M + Q, n]; altered.
        spill: entries of each half whose cells a word may go to.
        each: entries of each half whose cells a query looks into.
        probes: the cells of the queries go here, int64 [B, Q, 1, P].

    Returns:
        Of all words together the errors |x|^2 - 2 max(sum), their number, and how many of them
        found no place.
    """
    slots, vectors, tables = inputs.slots, inputs.vectors, inputs.tables
    count, many = slots.shape[1], scores.shape[2]
    largest = max(spill, each)
    lanes, high = np.empty((2, 2 * LANES), scores.dtype), np.empty((2, largest), scores.dtype)
    entries, steps = np.empty((2, largest), np.int64), np.empty(largest, np.int64)
    homes, failed = np.empty((len(slots), count, 1), np.int64), np.empty(slots.size, np.int64)
    halves_of_one = 2 if vectors.shape[2] == 1 else 1  # of one number both halves are that
    error = scores.dtype.type(0)
    for b in range(len(slots)):
        for i in range(count):
            square, home = dot(vectors[b, i], vectors[b, i]) * halves_of_one, 0
            for half in range(2):
                mine = scores[2 * b + half, i]
                fill_lanes(mine, lanes[0])
                entry = find_highest(mine, lanes[0])
                home = home * many + entry
                square -= 2 * mine[entry]
            homes[b, i, 0] = home
            if slots[b, i] >= 0:
                error += square
    real, missing = insert_words(slots, vectors, homes, True, tables, failed)
    further = np.empty((missing, spill**2), np.int64)
    for one in range(missing):
        b, i = failed[one] // count, failed[one] % count
        first, second = scores[2 * b, i], scores[2 * b + 1, i]
        _combine(first, second, spill, lanes, high, entries, steps, further[one])
    lost = insert_further(slots, vectors, failed[:missing], further, tables)
    for b in range(len(probes)):
        for q in range(probes.shape[1]):
            first, second = scores[2 * b, count + q], scores[2 * b + 1, count + q]
            _combine(first, second, each, lanes, high, entries, steps, probes[b, q, 0])
    look(vectors, probes, tables, inputs.l2, inputs.best, inputs.found)
    return error, real, lost
