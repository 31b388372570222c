"""Tries in child processes: one that crashes is counted and named, and does not end all."""

import contextlib
import os
import pickle
import signal
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.forks import fork

BATCH = 100  # tries a child


def in_children(count: int, attempt: Callable[[int], str]) -> dict[str, int]:
    """Makes tries 0 .. count - 1 and counts how they ended.

    Args:
        count: how many.
        attempt: makes the try of a number; returns how it ended, or raises what went wrong.

    Raises:
        AssertionError: tries went wrong or crashed; the first ones by number.
    """
    ended: Counter[str] = Counter()
    wrong: list[str] = []
    start = 0
    while start < count:
        stop = min(start + BATCH, count)
        results, status = _child(start, stop, attempt)
        for number, (outcome, fault) in results:
            if fault:
                wrong.append(f"try {number}: {outcome}")
            else:
                ended[outcome] += 1
        start = 1 + (results[-1][0] if results else start - 1)
        if status:
            how = signal.Signals(-status).name if status < 0 else f"exit code {status}"
            wrong.append(f"try {start}: the process ended with {how}")
            start += 1
    assert not wrong, f"{len(wrong)} of {count} tries went wrong\n" + "\n".join(wrong[:10])
    return dict(sorted(ended.items()))


def _child(
    start: int, stop: int, attempt: Callable[[int], str]
) -> tuple[list[tuple[int, tuple[str, bool]]], int]:
    """Tries `start` .. `stop` - 1 in a child: what it found, and how the process ended."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "results")
        path.touch()
        child = fork()
        if child == 0:
            try:
                with path.open("ab", buffering=0) as file:
                    for number in range(start, stop):
                        file.write(pickle.dumps((number, _made(number, attempt))))
            finally:
                os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        results = []
        with path.open("rb") as file:
            while file.peek(1):
                results.append(pickle.load(file))
    return results, status


def _made(number: int, attempt: Callable[[int], str]) -> tuple[str, bool]:
    try:
        return attempt(number), False
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {' | '.join(lines)[:400]}", True


@contextlib.contextmanager
def ending_within(seconds: int) -> Iterator[None]:
    """Ends a block that does not end by itself, with an AssertionError."""

    def ring(number: int, frame: object) -> None:
        raise AssertionError(f"no end after {seconds} seconds")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
