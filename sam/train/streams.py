"""Standard streams that may be closed, full, or piped into a program that has ended."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Opens the null device where standard output or error is missing."""
    with contextlib.ExitStack() as given:
        for name in ("stdout", "stderr"):
            if getattr(sys, name) is None:
                setattr(sys, name, given.enter_context(open(os.devnull, "w")))
                given.callback(setattr, sys, name, None)
        yield


def print_error(text: str) -> None:
    """Writes a line on standard error, if that is possible."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def flush_or_drop() -> None:
    """Flushes standard output and error, and drops what they can no longer take.

    Otherwise Python would try again at exit, fail, and print lines of its own.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # broken, or closed
            _drop(stream)


def _drop(stream: Any) -> None:
    with contextlib.suppress(OSError, ValueError):  # a stream without a descriptor
        nowhere = os.open(os.devnull, os.O_WRONLY)
        try:
            os.dup2(nowhere, stream.fileno())
        finally:
            os.close(nowhere)
