"""Processes forked from this one, which has imported torch already, alone or in a group of gloo."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed

LONGEST = 60  # seconds; a process that hangs is ended by then, and its exit code says so


def fork() -> int:
    """What `os.fork` returns, without a warning of threads: none holds what a child needs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def forked(act: Callable[[], int]) -> int:
    """Number of a new process that does this, and ends with the exit code it returns.

    Signals do in it what they do in one that a shell has started in the foreground.
    """
    # None comes before what is to meet it is in place.
    held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    child = fork()
    if not child:
        code = 99
        try:
            # However this process was started: one in the background may ignore Ctrl-C.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.alarm(LONGEST)
            signal.pthread_sigmask(signal.SIG_SETMASK, held)
            code = act()
        except KeyboardInterrupt:
            code = 128 + signal.SIGINT
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        finally:
            os._exit(code)
    signal.pthread_sigmask(signal.SIG_SETMASK, held)
    return child


def ended(child: int) -> int:
    """Waits for a process; its exit code, negative for the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def load_data_parallel() -> None:
    """Imports what DistributedDataParallel does when it is first used, before a fork: seconds."""
    torch.compiler.reset()


def meet(place: Path, rank: int, count: int, seconds: float) -> None:
    """Makes this process, a forked one, look as if torchrun had started it.

    Args:
        place: a file that is not there yet, where the processes find each other.
        rank: of this process.
        count: of all processes.
        seconds: that one waits for an answer of another.
    """
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo"}
    begin = distributed.init_process_group
    group = {"init_method": f"file://{place}", "rank": rank, "world_size": count}

    def init_process_group(backend: str, timeout: timedelta) -> Any:
        return begin(backend, timeout=timedelta(seconds=seconds), **group)

    distributed.init_process_group = init_process_group
