"""The lists with the highest scores, best first, until together they have enough words.

To take the highest score again and again costs as much for each list as to compare all scores with
one number. So first comes a number above which there are somewhat more lists than needed: the
maxima of lanes tell it. The few lists above it are sorted.
"""

import numpy as np

from index.compiled import lean_inline, part
from index.kernels.lanes import LANES, fill_lanes
from index.llvm.compared import AT_ONCE, lowest_bit, mask_from

FIRST = 64  # lists that the first query of many is thought to need
_HALVINGS = 10  # until the number is near enough


@lean_inline
def _bound(lanes, wanted):
    """A number that so many of the maxima of lanes reach, or a few more; -inf with few lanes."""
    low, high = lanes[0], lanes[0]
    for j in range(LANES):
        low = lanes[j] if lanes[j] < low else low
        high = lanes[j] if lanes[j] > high else high
    if wanted >= LANES or not (low > -np.inf and high < np.inf):
        return low
    for _ in range(_HALVINGS):
        middle, above = low + (high - low) / 2, 0
        for j in range(LANES):
            above += lanes[j] >= middle
        if above >= wanted:
            low = middle
        else:
            high = middle
    return low


@lean_inline
def _gather(values, least, again, before, order):
    """Writes the positions of values from `least` on, `again` only those below another number.

    Returns how many they are.
    """
    count, whole = 0, len(values) - len(values) % AT_ONCE
    for begin in range(0, whole, AT_ONCE):
        above = mask_from(values, begin, least)
        while above != 0:
            one = begin + lowest_bit(above)
            above &= above - 1
            value = values[one]
            order[count] = one
            count += np.int64(value > -np.inf and not (again and value >= before))
    for one in range(whole, len(values)):
        value = values[one]
        if value >= least and value > -np.inf and not (again and value >= before):
            order[count] = one
            count += 1
    return count


@lean_inline
def _sort(values, order, size, room):
    """Sorts at most `LANES` positions by their values, the highest first.

    First into buckets between the highest and the lowest, then past their neighbors.
    """
    high, low = values[order[0]], values[order[0]]
    for i in range(size):
        value = values[order[i]]
        high, low = max(high, value), min(low, value)
    some, begins = room.numbers[:LANES], room.numbers[LANES:]
    apart = high - low
    times = (LANES - 1) / apart if apart > 0 else apart
    if 0 < times < np.inf:  # or they are equal, or too far apart
        for j in range(LANES + 1):
            begins[j] = 0
        for i in range(size):
            some[i] = order[i]
            begins[np.int64((high - values[order[i]]) * times) + 1] += 1
        for j in range(LANES):
            begins[j + 1] += begins[j]
        for i in range(size):
            bucket = np.int64((high - values[some[i]]) * times)
            order[begins[bucket]] = some[i]
            begins[bucket] += 1
    for i in range(1, size):
        one, at = order[i], i
        key = values[one]
        while at > 0 and values[order[at - 1]] < key:
            order[at] = order[at - 1]
            at -= 1
        order[at] = one


@lean_inline
def _sink(values, heap, at, size):
    """Lets a position sink in a heap to where none below it has a higher value."""
    one = heap[at]
    while 2 * at + 1 < size:
        child = 2 * at + 1
        child += np.int64(child + 1 < size and values[heap[child + 1]] > values[heap[child]])
        if values[heap[child]] <= values[one]:
            break
        heap[at] = heap[child]
        at = child
    heap[at] = one


@part
def choose_highest(values, lengths, budget, guess, room, order, chosen):
    """The lists with the highest scores that together have enough words.

    Args:
        values: scores of lists, [n]; -inf, as NaN, is no list.
        lengths: how many words each has, int64 [n]; those without are skipped.
        budget: how many words are enough.
        guess: how many lists are thought to be needed; the result does not depend on it.
        room: `LaneRoom`.
        order: room, int64 [n].
        chosen: positions go here, best first, int64 [m]; m is at least the result.

    Returns:
        How many they are; all with words if these are not enough.

    Cost: O(n) comparisons, of which a processor makes many at once, and O(log guess) a list.
    """
    lanes = room.lanes
    fill_lanes(values, lanes)
    # Of so many lists some share a lane.
    wanted = np.int64(LANES * (1 - np.exp(-(1.25 * guess + 8) / LANES)))
    least, before, again = _bound(lanes, wanted), lanes[0], False
    met, count = 0, 0
    while True:
        size = _gather(values, least, again, before, order)
        if 0 < size <= LANES:
            _sort(values, order, size, room)
            for i in range(size):
                if met < budget and lengths[order[i]] > 0:
                    chosen[count] = order[i]
                    count += 1
                    met += lengths[order[i]]
        else:
            for at in range(size // 2 - 1, -1, -1):
                _sink(values, order, at, size)
            while size > 0 and met < budget:
                one = order[0]
                size -= 1
                order[0] = order[size]
                _sink(values, order, 0, size)
                if lengths[one] > 0:
                    chosen[count] = one
                    count += 1
                    met += lengths[one]
        if met >= budget or least == -np.inf:
            return count
        least, before, again = values.dtype.type(-np.inf), least, True
