"""The highest of many scores, at the speed of memory.

The scores are divided into lanes: lane j holds those at j, j + LANES, and so on. The maxima of the
lanes are contiguous, so that the processor compares many at once. The highest maximum tells which
lane to search.
"""

from typing import Any, NamedTuple

import numpy as np

from index.compiled import lean_inline
from index.kernels.vectors import another

LANES = 128  # fewer are searched faster, and more halved; measured for 64 to 20,000 scores


class LaneRoom(NamedTuple):
    """Arrays that the functions below use."""

    lanes: Any  # [2 LANES]
    place: Any  # int64 [1]
    numbers: Any  # int64 [2 LANES + 1]

    @classmethod
    def of(cls, dtype: Any) -> "LaneRoom":
        """For values of a dtype."""
        place, numbers = np.empty(1, np.int64), np.empty(2 * LANES + 1, np.int64)
        return cls(np.empty(2 * LANES, dtype), place, numbers)


@lean_inline
def fill_lanes(values, lanes):
    """Writes the maximum of each lane to [2 LANES], whose second half is a buffer."""
    for j in range(LANES):
        lanes[j] = -np.inf
    for start in range(0, len(values), LANES):
        piece = values[start : start + LANES]
        for j in range(len(piece)):
            lanes[j] = piece[j] if piece[j] > lanes[j] else lanes[j]


@lean_inline
def _halve(source, target, half):
    for j in range(half):
        low, high = source[j], source[half + j]
        target[j] = low if low > high else high


@lean_inline
def find_highest(values, lanes):
    """The position of the highest value, by the maxima of the lanes.

    Arbitrary if no value exceeds -inf.
    """
    work, half = lanes[LANES:], LANES // 2
    _halve(lanes, work, half)
    while half > 8:
        half //= 2
        _halve(work, work, half)
    highest = work[0]
    for j in range(1, 8):
        highest = work[j] if work[j] > highest else highest
    # Without branches, which would be mispredicted: among 8, then among their lanes, then in the
    # lane. Backwards, so that the first of equal values is found.
    some, lane = 0, 0
    for j in range(7, -1, -1):
        some = j if work[j] == highest else some
    for j in range(some + LANES - 8, -1, -8):
        lane = j if lanes[j] == highest else lane
    place, last = lane, len(values) - 1
    for other in range(lane + (last - lane) // LANES * LANES, -1, -LANES):
        place = other if values[other] == highest else place
    return min(place, last)


@lean_inline
def pop_highest(values, lanes, places, found):
    """Writes the position of the highest value to `places[found]`, and returns the value.

    The value is replaced by -inf. If none exceeds -inf, as for vectors whose squares overflow, the
    position is one that was not found before.
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


@lean_inline
def topk(values, lanes, places):
    """Writes the positions of the len(places) highest values, best first."""
    fill_lanes(values, lanes)
    for found in range(len(places)):
        pop_highest(values, lanes, places, found)
