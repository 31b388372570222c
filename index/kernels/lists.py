"""The exchange of `ivf`: inverted lists, given the scores of all centroids."""

import numpy as np

from index.compiled import jit
from index.kernels.bucket_loops import insert_further, insert_words, look
from index.kernels.lanes import LANES, fill_lanes, find_highest, topk
from index.kernels.vectors import dot


@jit
def exchange_lists(inputs, scores, spill, probes):
    """Moves M words to the lists of their nearest centroids, then answers Q queries.

    Args:
        inputs: `index.hashing.ExchangeInputs`.
        scores: x.c - |c|^2 / 2, and what a query uses in place of that, [B, M + Q, n]; altered.
        spill: lists that a word may go to.
        probes: the lists of the queries go here, int64 [B, Q, 1, P].

    Returns:
        Of all words together the errors |x|^2 - 2 max(score), their number, and how many of them
        found no place.
    """
    slots, vectors, tables = inputs.slots, inputs.vectors, inputs.tables
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
    real, missing = insert_words(slots, vectors, homes, True, tables, failed)
    further = np.empty((missing, spill), np.int64)
    for one in range(missing):
        topk(scores[failed[one] // count, failed[one] % count], lanes, further[one])
    lost = insert_further(slots, vectors, failed[:missing], further, tables)
    for b in range(len(probes)):
        for q in range(probes.shape[1]):
            topk(scores[b, count + q], lanes, probes[b, q, 0])
    look(vectors, probes, tables, inputs.l2, inputs.best, inputs.found)
    return error, real, lost
