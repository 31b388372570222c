"""Runs a function in several processes that talk through gloo, as torchrun would start them."""

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
from torch import distributed, multiprocessing

SECONDS = 60  # that a process waits for another one
# A process that has imported these, and done nothing, is forked: importing them takes seconds.
# `torch._dynamo` is what DistributedDataParallel imports when it is first used.
IMPORTED = ["torch", "torch._dynamo", "numba", "numpy", "pytest", "hypothesis"]


def in_processes(count: int, function: Callable[..., None], *arguments: Any) -> list[int | None]:
    """Calls `function(*arguments)` in `count` processes of one group.

    Args:
        count: processes; each sees its rank by `torch.distributed`.
        function: of a module that can be imported.
        arguments: can be pickled.

    Returns:
        Exit codes: 0, 1 after an error (which stands on stderr), minus the signal that killed it.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(IMPORTED)
    with tempfile.TemporaryDirectory() as folder:
        given = (count, str(Path(folder) / "meeting"), function, arguments)
        started = [context.Process(target=_process, args=(rank, *given)) for rank in range(count)]
        for process in started:
            process.start()
        try:
            for process in started:
                process.join()
        finally:
            for process in started:
                process.kill()
    return [process.exitcode for process in started]


def _process(
    rank: int, count: int, meeting: str, function: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{meeting}",
        rank=rank,
        world_size=count,
        timeout=timedelta(seconds=SECONDS),
    )
    try:
        function(*arguments)
    finally:
        distributed.destroy_process_group()
