"""Batch rows shared among threads, each of which runs compiled code without the interpreter."""

import itertools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

_POOLS: dict[tuple[int, int], ThreadPoolExecutor] = {}


def in_threads(run: Callable[[int, int], None], rows: int) -> None:
    """Calls `run(lo, hi)` for parts of 0 .. rows - 1, as many as torch has threads.

    Returns when all are done; raises what the first of them raised.
    """
    count = min(torch.get_num_threads(), rows)
    if count <= 1:
        run(0, rows)
        return
    edges = [rows * part // count for part in range(count + 1)]
    pool = _pool(count - 1)
    others = [pool.submit(run, *pair) for pair in itertools.pairwise(edges[1:])]
    try:
        run(edges[0], edges[1])
    finally:
        for other in others:
            other.exception()  # waits: they write into the same buffers
    for other in others:
        other.result()


def _pool(workers: int) -> ThreadPoolExecutor:
    # A process that was forked has no threads of its parent: it makes a pool of its own.
    key = os.getpid(), workers
    if key not in _POOLS:
        _POOLS[key] = ThreadPoolExecutor(workers, thread_name_prefix="sam")
    return _POOLS[key]
