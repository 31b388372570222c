"""An exchange with inverted lists, after the product of all vectors and centroids."""

import numpy as np

from index.compiled import jit
from index.kernels.highest import LANES, fill_lanes, find_highest, take_all
from index.kernels.places import look, settle, settle_further
from index.kernels.vectors import dot


@jit
def exchange_lists(asked, scores, spill, probes):
    """Moves M words to the lists of their nearest centroids, then answers Q queries.

    Args:
        asked: `index.hashing.Asked`.
        scores: x.c - |c|^2 / 2, and what a query uses in place of that, [B, M + Q, n]; altered.
        spill: lists that a word may go to.
        probes: the lists of the queries go here, int64 [B, Q, 1, P].

    Returns:
        Of all words together the errors |x|^2 - 2 max(score), their number, and how many of them
        found no place.
    """
    slots, vectors, tables = asked.slots, asked.vectors, asked.tables
    count = slots.shape[1]
    lanes = np.empty(2 * LANES, scores.dtype)
    homes, failed = np.empty((len(slots), count, 1), np.int64), np.empty(slots.size, np.int64)
    error = scores.dtype.type(0)
    for b in range(len(slots)):
        for i in range(count):
            mine = scores[b, i]
            fill_lanes(mine, lanes)
            home = find_highest(mine, lanes)
            homes[b, i, 0] = home
            if slots[b, i] >= 0:
                error += dot(vectors[b, i], vectors[b, i]) - 2 * mine[home]
    real, missing = settle(slots, vectors, homes, True, tables, failed)
    further = np.empty((missing, spill), np.int64)
    for one in range(missing):
        take_all(scores[failed[one] // count, failed[one] % count], lanes, further[one])
    lost = settle_further(slots, vectors, failed[:missing], further, tables)
    for b in range(len(probes)):
        for q in range(probes.shape[1]):
            take_all(scores[b, count + q], lanes, probes[b, q, 0])
    look(vectors, probes, tables, asked.l2, asked.best, asked.found)
    return error, real, lost
