"""How far a sweep goes: each line up to the largest size that time and memory allow.

Before a size is measured, what it will take is extrapolated from the sizes before it.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def expected(sizes: Sequence[int], values: Sequence[float], size: int) -> float:
    """Extrapolates a value to a larger size, from its growth between the last two.

    value(N) = v_n (N / N_n)^p,   p = log(v_n / v_{n-1}) / log(N_n / N_{n-1}), at least 1

    Args:
        sizes: measured so far, ascending.
        values: one for each, such as seconds.
        size: the larger one.

    Returns:
        The value; 0 where nothing was measured, or where it was 0.
    """
    if not values or values[-1] <= 0:
        return 0.0
    power = 1.0  # small memories are mostly fixed costs; every line to be limited is linear at last
    if len(values) > 1 and values[-2] > 0:
        power = max(power, math.log(values[-1] / values[-2]) / math.log(sizes[-1] / sizes[-2]))
    return values[-1] * (size / sizes[-1]) ** power


class Limits:
    """Follows lines from size to size, and stops each before it takes too much.

    Args:
        most: by name of a quantity, such as "seconds" or "bytes", how much one size may take.
    """

    def __init__(self, most: Mapping[str, float]) -> None:
        self.most = dict(most)
        self.stopped: list[dict[str, Any]] = []
        self._sizes: dict[str, list[int]] = {}
        self._values: dict[str, dict[str, list[float]]] = {}

    def allow(self, line: str, size: int) -> bool:
        """Whether a line is measured at a size; not after it has stopped."""
        if any(one["line"] == line for one in self.stopped):
            return False
        sizes = self._sizes.get(line, [])
        for name, most in self.most.items():
            value = expected(sizes, self._values.get(line, {}).get(name, []), size)
            if value > most:
                self.stop(line, size, f"expected {value:.3g} {name}, at most {most:.3g}")
                return False
        return True

    def stop(self, line: str, size: int, why: str) -> None:
        """From this size on the line is left out."""
        self.stopped.append({"line": line, "memory_size": size, "why": why})

    def record(self, line: str, size: int, **values: float) -> None:
        """Records what a size took.

        Raises:
            ValueError: the values are not those that are limited, or the size is not the largest.
        """
        if {*values} != {*self.most}:
            raise ValueError(f"values: expected {sorted(self.most)}, got {sorted(values)}")
        sizes = self._sizes.setdefault(line, [])
        if sizes and size <= sizes[-1]:
            raise ValueError(f"size: expected more than {sizes[-1]}, got {size}")
        sizes.append(size)
        for name, value in values.items():
            self._values.setdefault(line, {}).setdefault(name, []).append(value)
