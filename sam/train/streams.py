"""Standard streams that may be closed, full, or piped into a program that has gone."""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def open_streams() -> Iterator[None]:
    """Gives a process that was started without standard output or error a place to write to."""
    with contextlib.ExitStack() as given:
        if sys.stdout is None:
            nowhere = given.enter_context(open(os.devnull, "w"))
            given.enter_context(contextlib.redirect_stdout(nowhere))
        if sys.stderr is None:
            nowhere = given.enter_context(open(os.devnull, "w"))
            given.enter_context(contextlib.redirect_stderr(nowhere))
        yield


def complain(text: str) -> None:
    """Writes a line on standard error, if that can be done."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr, flush=True)


def settle() -> None:
    """Drops what standard output and error can no longer take.

    Python writes it at its end else, fails, and says so in lines of its own.
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
