"""Measuring in a new process, in which nothing else has run."""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.bytes.footprint import grown_by

_STATM = Path("/proc/self/statm")


class Resident(NamedTuple):
    """Bytes of a process, by the operating system's count."""

    peak: int  # the most there were at one time
    growth: int  # of these, beyond those that were there before


def in_new_process(function: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Calls a function in a new process and returns its result.

    Args:
        function: at the top level of a module; arguments and result can be pickled.
        given, named: its arguments.

    Raises:
        BrokenProcessPool: the process was killed, for example because memory ran out.
        Whatever the function raises.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *given, **named).result()


def resident(run: Callable[[], Any]) -> Resident | None:
    """Runs something in this process; returns how large the process became; None if not on Linux.

    The growth is a lower bound in a process that has done other work; see `grown_by`.
    """
    if not _STATM.exists():
        run()
        return None
    before = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    growth = grown_by(run)
    return Resident(before + growth, growth)
