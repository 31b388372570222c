"""The choices of `lsh`: buckets of random hyperplanes, given the sides of all vectors."""

import numpy as np

from index.compiled import inline, jit
from index.kernels.list_loops import is_small
from index.kernels.vectors import empty, fill_free, insert


@inline
def _code(sides):
    """The bucket on these sides of the hyperplanes."""
    code = 0
    for i in range(len(sides)):
        code |= np.int64(sides[i] > 0) << i
    return code


@jit
def codes_of(sides, homes):
    """Writes the buckets of words to `homes`, [B, M, L], given r.x - t, [B, M, L bits]."""
    bits = sides.shape[2] // homes.shape[2]
    for b in range(homes.shape[0]):
        for i in range(homes.shape[1]):
            for t in range(homes.shape[2]):
                homes[b, i, t] = _code(sides[b, i, t * bits : (t + 1) * bits])


@inline
def _subsets(sides, margins, planes, costs, flips):
    """What it costs to cross each subset of the nearest hyperplanes, and the bits that flips."""
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


@inline
def _order(costs, flips, code, best, tags, codes):
    """The buckets with the least margins to cross, nearest first."""
    empty(best, tags)
    for subset in range(len(costs)):
        if costs[subset] > best[-1]:
            insert(best, tags, costs[subset], subset)
    fill_free(tags)
    for p in range(len(codes)):
        codes[p] = code ^ flips[tags[p]]


@jit
def choose_codes(sides, tables, crossed, lists, budget, chosen, counts):
    """The nearest buckets of each query in all tables, until together they have enough words.

    Args:
        sides: r.q - t for every hyperplane, [B, Q, L bits].
        tables: L.
        crossed: of a query's nearest hyperplanes, at most so many are crossed, X.
        lists: `ListSizes`.
        budget: how many words are enough; a word counts in each table.
        chosen: buckets with words go here, numbered through, int64 [B, Q, L 2^X].
        counts: how many they are, int64 [B, Q]; -1 for all of a small memory.
    """
    batch_size, bits, every = len(sides), sides.shape[2] // tables, 1 << crossed
    many = len(lists.lengths) // (batch_size * tables)
    margins, planes = np.empty(crossed, sides.dtype), np.empty(crossed, np.int64)
    costs, flips = np.empty((tables, every), sides.dtype), np.empty((tables, every), np.int64)
    high, tags = np.empty(every, sides.dtype), np.empty(every, np.int64)
    codes = np.empty((tables, every), np.int64)
    for b in range(batch_size):
        few = is_small(b, lists, budget)
        for q in range(counts.shape[1]):
            counts[b, q] = -1 if few else 0
            if few:
                continue
            mine = sides[b, q]
            for t in range(tables):
                part = mine[t * bits : (t + 1) * bits]
                _subsets(part, margins, planes, costs[t], flips[t])
            met, count, known = 0, 0, 0
            for p in range(every):
                if met >= budget:
                    break
                if p == known:
                    known = min(every, max(4, 4 * known))
                    for t in range(tables):
                        code = _code(mine[t * bits : (t + 1) * bits])
                        part = codes[t, :known]
                        _order(costs[t], flips[t], code, high[:known], tags[:known], part)
                for t in range(tables):
                    one = (b * tables + t) * many + codes[t, p]
                    if lists.lengths[one] > 0:
                        chosen[b, q, count] = one
                        count += 1
                        met += lists.lengths[one]
            counts[b, q] = count
