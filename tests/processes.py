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


def in_processes(count: int, function: Callable[..., None], *arguments: Any) -> None:
    """Calls `function(*arguments)` in `count` processes of one group; raises what one raised.

    Args:
        count: processes; each sees its rank by `torch.distributed`.
        function: of a module that can be imported.
        arguments: can be pickled.
    """
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(
            _process, (count, str(Path(folder) / "meeting"), function, arguments), nprocs=count
        )


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
