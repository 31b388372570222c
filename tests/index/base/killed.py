"""A process that writes a base on and on, killed at a random moment."""

import multiprocessing
import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any


def killed(write: Callable[[str, Any], None], path: Any, moments: random.Random, least: int) -> int:
    """Kills a process some milliseconds after it has begun its call of number `least`.

    Args:
        write: is given the path, and a shared number which it sets to that of each call.
        path: of the base.
        moments: how long it goes on.
        least: the call that it must have come to.

    Returns:
        The number of the call in which it was killed.
    """
    context = multiprocessing.get_context("fork")
    begun = context.Value("q", 0)
    process = context.Process(target=write, args=(str(path), begun))
    process.start()
    deadline = time.monotonic() + 20
    while begun.value < least and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(0.03 * moments.random())
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    return begun.value
