"""The threads that torch's own operations run in, lent to other work.

A thread of OpenMP that has nothing to do goes on asking for work for some milliseconds, and holds a
core meanwhile. Where torch's operations take turns with work of ours, threads of our own would have
to share the cores with those. So the work is given to the same threads: it is a parallel region
like those of torch, of the library that torch has loaded, and what asks is what works.
"""

import ctypes
import functools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

# A process that was forked has no threads of its parent, and would wait for them for ever.
_PROCESS = os.getpid()
_WORK = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Team:
    """Torch's threads.

    Args:
        library: that has `GOMP_parallel`; GNU's OpenMP, or another one that stands in for it.
    """

    def __init__(self, library: Any) -> None:
        self._most, self._begin = library.omp_get_max_threads, library.GOMP_parallel
        self._begin.argtypes = _WORK, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
        self._begin.restype = None

    def has(self, threads: int) -> bool:
        """Whether they are here, and as many as torch says; else they are not torch's."""
        return os.getpid() == _PROCESS and self._most() == threads

    def run(self, work: Callable[[], None], threads: int) -> None:
        """Calls `work` in each of them, this one first, and returns when all have returned.

        What it raises is lost. Inside of a parallel region it may be called by this one alone.

        Args:
            work: each waits for Python's lock with it, until the ones before run compiled code.
            threads: how many; another number than that of torch would make torch's end.
        """
        self._begin(_WORK(lambda _: work()), None, threads, 0)


@functools.cache
def torch_team() -> Team | None:
    """Torch's threads; None if they are not those of a library that is known."""
    if not torch.backends.openmp.is_available():
        return None
    for library in _libraries():
        if hasattr(library, "GOMP_parallel") and hasattr(library, "omp_get_max_threads"):
            return Team(library)
    return None


def _libraries() -> Iterator[Any]:
    """Where torch's calls may lead, in the order in which they were looked up; none is loaded."""
    if os.name != "posix":
        return
    yield ctypes.CDLL(None)
    name = "libtorch_cpu.dylib" if sys.platform == "darwin" else "libtorch_cpu.so"
    try:
        path = Path(torch.__file__).parent / "lib" / name
        yield ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD)  # its libraries are searched as well
    except (OSError, AttributeError):  # another build of torch, or a system without that mode
        return
