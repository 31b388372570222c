"""Batch rows shared among threads, each of which runs compiled code without the interpreter."""

import itertools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from sam.fast.loops.kernel_arrays import Weights

_ROWS, _CACHED = 32, 2**20  # bytes: half of a cache of 2 MB
_POOLS: dict[tuple[int, int], ThreadPoolExecutor] = {}


def in_threads(run: Callable[[int, int], None], rows: int, most: int = sys.maxsize) -> None:
    """Calls `run(lo, hi)` for parts of 0 .. rows - 1, of at most `most` rows each.

    They are shared among as many threads as torch has. Returns when all are done; raises what the
    first of them raised.
    """
    count = min(torch.get_num_threads(), rows)
    if count <= 1:
        _in_turn(run, 0, rows, most)
        return
    edges = [rows * part // count for part in range(count + 1)]
    pool = _pool(count - 1)
    others = [pool.submit(_in_turn, run, *pair, most) for pair in itertools.pairwise(edges[1:])]
    try:
        _in_turn(run, edges[0], edges[1], most)
    finally:
        for other in others:
            other.exception()  # waits: they write into the same buffers
    for other in others:
        other.result()


def rows_at_a_time(weights: Weights) -> int:
    """How many batch rows go through all steps before the next ones do.

    Each step comes back to the words of its rows, and those of so many rows stay in a core's cache
    if the weights do, too. Larger weights come from further away at each step, which pays for many
    rows at once.
    """
    matrices = weights.reads, weights.below, weights.own, weights.interface
    fits = sum(matrix.nbytes for matrix in matrices) <= _CACHED
    return _ROWS if fits else sys.maxsize


def _in_turn(run: Callable[[int, int], None], lo: int, hi: int, most: int) -> None:
    for first in range(lo, hi, most):
        run(first, min(first + most, hi))


def _pool(workers: int) -> ThreadPoolExecutor:
    # A process that was forked has no threads of its parent: it makes a pool of its own.
    key = os.getpid(), workers
    if key not in _POOLS:
        _POOLS[key] = ThreadPoolExecutor(workers, thread_name_prefix="sam")
    return _POOLS[key]
