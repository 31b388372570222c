"""How many batch rows go through the steps of a sequence together."""

import sys

from sam.fast.loops.kernel_arrays import Weights

_ROWS, _CACHED = 32, 2**20  # bytes: half of a cache of 2 MB


def rows_at_a_time(weights: Weights) -> int:
    """How many batch rows go through all steps before the next ones do.

    Each step comes back to the words of its rows, and those of so many rows stay in a core's cache
    if the weights do, too. Larger weights come from further away at each step, which pays for many
    rows at once.
    """
    matrices = weights.reads, weights.below, weights.own, weights.interface
    fits = sum(matrix.nbytes for matrix in matrices) <= _CACHED
    return _ROWS if fits else sys.maxsize
