"""Counting bytes: the peak of all; `sam.train.saved_bytes` counts those a pass keeps."""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch.profiler import ProfilerActivity, profile

# The scripts import these from here.
from sam.train.saved_bytes import bytes_per_step as bytes_per_step
from sam.train.saved_bytes import saved_bytes as saved_bytes


def peak_bytes(run: Callable[[], Any]) -> int:
    """The most bytes that tensors allocated during a call held at one moment, on the CPU.

    torch's profiler records each block that its CPU allocator hands out and takes back: outputs,
    what autograd keeps, gradients, and the scratch space of kernels that ask the allocator for it.
    That includes more than the tensors that Python sees. It does not include Python's own objects
    or buffers inside the BLAS library; `resident_growth` does.

    Args:
        run: the call. Blocks that existed before do not count, neither when they are freed.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        run()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    blocks = sorted(
        (event["ts"], event["args"]["Ev Idx"], event["args"]["Addr"], event["args"]["Bytes"])
        for event in events
        if event["name"] == "[memory]"
    )
    return highest_level((address, size) for _, _, address, size in blocks)


def highest_level(blocks: Iterable[tuple[int, int]]) -> int:
    """The highest sum of the sizes of blocks in use at one time.

    Args:
        blocks: address and size in the order of time; a size below 0 gives the block back. Blocks
            given back that were not handed out here are not counted.
    """
    in_use: dict[int, int] = {}
    level = highest = 0
    for address, size in blocks:
        level -= in_use.pop(address, 0)
        if size > 0:
            in_use[address] = size
            level += size
            highest = max(highest, level)
    return highest


def resident_growth(module: str, *arguments: str) -> int | None:
    """How much a process grew, by the operating system's count; a rough check of `peak_bytes`.

    Args:
        module: run as ``python -m MODULE``; it prints the bytes as its last line.
        arguments: passed to it.

    Returns:
        Bytes, or None where the system keeps no such count.

    Raises:
        RuntimeError: the process failed.
    """
    if not _STATUS.exists():
        return None
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    if done.returncode != 0:
        raise RuntimeError(f"{module}: expected it to print bytes, it failed: {done.stderr}")
    return int(done.stdout.splitlines()[-1])


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def grown_by(run: Callable[[], Any]) -> int:
    """Runs something in this process; returns how far the resident set rose above where it was.

    Linux only. Pages that the process held free before do not count as new, so this is a lower
    bound in a process that has done other work.
    """
    _CLEAR.write_text("5")  # resets the highest resident set
    before = _resident("VmRSS")
    run()
    return _resident("VmHWM") - before


def _resident(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", _STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise RuntimeError(f"{_STATUS}: expected a line {name}, found none")
    return int(found[1]) * 1024
