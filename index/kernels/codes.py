"""The exchange of `lsh`: buckets of random hyperplanes, given the sides of all vectors."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.bucket_loops import insert_words, look
from index.kernels.vectors import empty, fill_free, insert


@inline
def _code(sides):
    """The bucket on these sides of the hyperplanes."""
    code = 0
    for i in range(len(sides)):
        code |= np.int64(sides[i] > 0) << i
    return code


@inline
def _nearby(sides, margins, planes, costs, flips, best, tags, codes):
    """The bucket of a query, and those with the least margins to cross, nearest first."""
    empty(margins, planes)
    for i in range(len(sides)):
        margin = -sides[i] * sides[i]
        if margin > margins[-1]:
            insert(margins, planes, margin, i)
    fill_free(planes)  # if the margins overflow
    costs[0], flips[0] = 0, 0
    for i in range(len(margins)):
        for subset in range(1 << i):
            costs[subset + (1 << i)] = costs[subset] + margins[i]
            flips[subset + (1 << i)] = flips[subset] | (1 << planes[i])
    empty(best, tags)
    for subset in range(1 << len(margins)):
        if costs[subset] > best[-1]:
            insert(best, tags, costs[subset], subset)
    fill_free(tags)
    own = _code(sides)
    for p in range(len(codes)):
        codes[p] = own ^ flips[tags[p]]


@jit
def exchange_codes(inputs, sides, crossed, probes):
    """Moves M words to their buckets in every table, then answers Q queries.

    Args:
        inputs: `index.hashing.ExchangeInputs`.
        sides: r.x - t for every hyperplane, [B, M + Q, L bits].
        crossed: of a query's nearest hyperplanes, at most so many are crossed.
        probes: the buckets of the queries go here, int64 [B, Q, L, P].

    Returns:
        0, as nothing was learned; how many words there were; how many found no place.
    """
    slots, vectors, tables = inputs.slots, inputs.vectors, inputs.tables
    count, wide, many = slots.shape[1], probes.shape[3], probes.shape[2]
    bits = sides.shape[2] // many
    margins, planes = np.empty(crossed, sides.dtype), np.empty(crossed, np.int64)
    costs, flips = np.empty(1 << crossed, sides.dtype), np.empty(1 << crossed, np.int64)
    high, tags = np.empty(wide, sides.dtype), np.empty(wide, np.int64)
    homes, failed = np.empty((len(slots), count, many), np.int64), np.empty(slots.size, np.int64)
    for b in range(len(sides)):
        for t in range(many):
            mine = sides[b, :, t * bits : (t + 1) * bits]
            for i in range(count):
                homes[b, i, t] = _code(mine[i])
            for q in range(probes.shape[1]):
                codes = probes[b, q, t]
                _nearby(mine[count + q], margins, planes, costs, flips, high, tags, codes)
    real, lost = insert_words(slots, vectors, homes, False, tables, failed)
    look(vectors, probes, tables, inputs.l2, inputs.best, inputs.found)
    return margins.dtype.type(0), real, lost
