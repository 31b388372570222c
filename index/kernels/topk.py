"""The highest of many scores, at the speed of memory.

The scores are dealt out to lanes: lane j has those at j, j + LANES, and so on. The maxima of the
lanes are kept side by side, where the processor compares many at once; the highest of them tells
in which lane to look.
"""

import numpy as np

from index.compiled import inline
from index.kernels.vectors import another

LANES = 64


@inline
def fill_lanes(values, lanes):
    """The maximum of each lane of the values, into [2 LANES]; the second half is to work with."""
    for j in range(LANES):
        lanes[j] = -np.inf
    for start in range(0, len(values), LANES):
        piece = values[start : start + LANES]
        for j in range(len(piece)):
            lanes[j] = piece[j] if piece[j] > lanes[j] else lanes[j]


@inline
def _halve(source, target, half):
    for j in range(half):
        low, high = source[j], source[half + j]
        target[j] = low if low > high else high


@inline
def find_highest(values, lanes):
    """Where the highest value is, of those whose lanes' maxima are given.

    Somewhere, where no value is a number above -inf.
    """
    work = lanes[LANES:]
    _halve(lanes, work, LANES // 2)
    _halve(work, work, LANES // 4)
    _halve(work, work, LANES // 8)
    highest = work[0]
    for j in range(1, LANES // 8):
        highest = work[j] if work[j] > highest else highest
    # Without jumps, which the processor could not foresee: among 8, then among 8, then in the lane;
    # from the last on, so that of equals the first one stays.
    some, lane = 0, 0
    for j in range(LANES // 8 - 1, -1, -1):
        some = j if work[j] == highest else some
    for j in range(some + LANES - LANES // 8, -1, -LANES // 8):
        lane = j if lanes[j] == highest else lane
    place, last = lane, len(values) - 1
    for other in range(lane + (last - lane) // LANES * LANES, -1, -LANES):
        place = other if values[other] == highest else place
    return min(place, last)


@inline
def take_highest(values, lanes, places, found):
    """Puts where the highest value is at place `found` of `places`, and returns the value.

    Afterwards it is out of the question, and -inf. Where none is above -inf, as of vectors whose
    squares overflow, it is one that was not found before.
    """
    place = find_highest(values, lanes)
    taken = values[place]
    if not taken > -np.inf:
        place = another(places[:found])
    places[found] = place
    values[place] = -np.inf
    lane, highest = place % LANES, values[place]
    for other in range(lane, len(values), LANES):
        highest = values[other] if values[other] > highest else highest
    lanes[lane] = highest
    return taken


@inline
def take_all(values, lanes, places):
    """Where the highest values are, best first; no more than there are values."""
    fill_lanes(values, lanes)
    for found in range(len(places)):
        take_highest(values, lanes, places, found)
