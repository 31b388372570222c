"""Rows shared among threads, each of which runs compiled code without the interpreter."""

import itertools
import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch

from index.openmp import torch_team

_POOLS: dict[tuple[int, int], ThreadPoolExecutor] = {}


def in_threads(run: Callable[[int, int], object], rows: int, most: int = sys.maxsize) -> None:
    """Calls `run(lo, hi)` for parts of 0 .. rows - 1 of like size, of at most `most` rows each.

    Threads take one part after another: as many threads as torch has, and torch's own where they
    can be had (see `index.openmp`). Each call begins and ends with Python's lock, so threads gain
    if it spends its time in code that gives the lock back. Calls may stand inside of each other.

    Args:
        run: may be called in several threads at a time. It finds torch in a parallel region,
            where its operations use one thread, and in the caller's modes of inference and
            gradients.
        rows: how many there are.
        most: of them in one call.

    Raises:
        Exception: what the first of the parts raised, once all are done.

    Cost: with more than one thread what it takes to hand Python's lock from one to the next.
    """
    threads = torch.get_num_threads()
    count = max(1, min(threads, rows))
    parts = count * -(-rows // (count * most))  # as many for each thread
    edges = [rows * part // parts for part in range(parts + 1)] if parts else []
    if count == 1:
        for pair in itertools.pairwise(edges):
            run(*pair)
        return
    left, failed = iter([*itertools.pairwise(edges)]), dict[int, BaseException]()
    inference, grad = torch.is_inference_mode_enabled(), torch.is_grad_enabled()

    def work() -> None:
        # Each thread has modes of its own. Entering the first one sets the second.
        with torch.inference_mode(inference), torch.set_grad_enabled(grad):
            for lo, hi in left:
                try:
                    run(lo, hi)
                except BaseException as error:  # in a thread where nobody would hear of it
                    failed[lo] = error

    team = torch_team()
    # To have many threads come that find no rows takes longer than it saves.
    if team is not None and threads <= 2 * count and team.has(threads):
        team.run(work, threads)
    else:
        _in_pool(work, count - 1)
    work()  # whatever an interrupt has kept the others from
    if failed:
        raise failed.pop(min(failed))


def _in_pool(work: Callable[[], None], others: int) -> None:
    # A process that was forked has no threads of its parent: it makes a pool of its own.
    key = os.getpid(), others
    if key not in _POOLS:
        _POOLS[key] = ThreadPoolExecutor(others, thread_name_prefix="sam")
    started = [_POOLS[key].submit(work) for _ in range(others)]
    try:
        work()
    finally:
        for other in started:
            if not other.cancel():  # one that has not begun would find nothing left
                other.exception()  # waits: they write into the same buffers
