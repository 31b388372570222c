"""Memory of the machine: how much is free, and one error for all that does not fit into it.

Each library reports a failed allocation in its own way: NumPy with a `MemoryError`, torch with a
`RuntimeError` about a C++ file, others with an overflow in the product of sizes. Here all of them
become one `ConfigError` that says what was asked for and what is free.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from sam.errors import ConfigError

# The limits of a container, version 2 and 1 of Linux' control groups: the limit, what is in use.
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
    ),
)
_ASKED = re.compile(r"tried to allocate (\d+) bytes|Unable to allocate ([\d.]+) (\w+)")
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "PiB": 2**50}
_UNITS["EiB"] = 2**60
# Texts of errors: a product of sizes beyond 64 bits, and failed allocations of C++ libraries.
_OVERFLOWS = (
    "Storage size calculation overflowed",
    "Overflow when unpacking long",
    "numel: integer multiplication overflow",
    "Stride calculation overflowed",
    "Maximum allowed dimension exceeded",
    "array is too big",
)
_FAILURES = ("can't allocate memory", "not enough memory", "out of memory", "std::bad_alloc")
_LONGER = ("cannot create std::vector larger than max_size", "vector::reserve")


def available_bytes() -> int | None:
    """Bytes that this process may still take without displacing others.

    Free memory and swap, or what is left of the container's share if that is less; None if the
    system does not report it.
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        found = dict(line.split()[:2] for line in lines)
        free = 1024 * (int(found["MemAvailable:"]) + int(found["SwapFree:"]))
    except (OSError, ValueError, KeyError):
        return None
    for limit, used in _GROUPS:
        with contextlib.suppress(OSError, ValueError):  # no such group, or "max"
            left = int(Path(limit).read_text()) - int(Path(used).read_text())
            free = min(free, max(left, 0))
    return free


def failed_allocation(error: BaseException) -> str | None:
    """Says what was asked for and what is free, if this is an error about memory; else None."""
    text = str(error)
    asked = _ASKED.search(text)
    if asked is not None:
        count, number, unit = asked.groups()
        size = int(count) if count else round(float(number) * _UNITS.get(unit, 1))
        wanted = f"{size / 2**30:,.3g} GiB"
    elif any(part in text for part in _OVERFLOWS + _LONGER):
        wanted = "more than 2^63 bytes"
    elif isinstance(error, MemoryError) or any(part in text for part in _FAILURES):
        wanted = "more memory"
    else:
        return None
    free = available_bytes()
    there = "" if free is None else f", of which {free / 2**30:,.3g} GiB are free"
    return f"expected sizes that fit into memory{there}; an allocation of {wanted} failed"


@contextlib.contextmanager
def refused_if_too_large(what: str) -> Iterator[None]:
    """Inside the block a failed allocation raises a ConfigError that begins with `what`."""
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError, TypeError, ValueError) as error:
        text = None if isinstance(error, ConfigError) else failed_allocation(error)
        if text is None:
            raise
        raise ConfigError(f"{what}: {text}") from error


@contextlib.contextmanager
def limited_to_free_memory(sharing: int = 1) -> Iterator[None]:
    """Inside the block this process gets no more memory than its share of what is free now.

    Linux grants more memory than it has, and kills some process when the memory is really used.
    With a limit the allocation itself fails, and the error can be reported. For programs that own
    their process, such as the command line. Does nothing on a system without such a limit, or with
    a CUDA device, whose driver reserves far more addresses than it uses.

    Args:
        sharing: how many processes like this one start on the machine; each gets the same share.
    """
    free = None if torch.cuda.is_available() else available_bytes()
    held = _bytes_of_data()
    if free is None or held is None:
        yield
        return
    import resource

    before = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = held + free // sharing
    for limit in before:
        if limit != resource.RLIM_INFINITY:
            wanted = min(wanted, limit)
    resource.setrlimit(resource.RLIMIT_DATA, (wanted, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)


def _bytes_of_data() -> int | None:
    """Bytes that already count towards the limit; None if the system does not report them."""
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return 1024 * int(line.split()[1])
    except (OSError, ValueError, IndexError):
        pass
    return None
