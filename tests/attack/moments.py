"""Moments at which a run may be killed: around all that it does to its files, and before and after
every word with the processes that train with it."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import distributed

from sam.train.loggers import JsonLines

_OF_FILES = ("replace", "fsync", "open")
_OF_PROCESSES = ("all_reduce", "broadcast_object_list")


@contextmanager
def counted() -> Iterator[list[int]]:
    """Counts the moments inside the block; the count is the only item of the list."""
    count = [0]

    def reached() -> bool:
        count[0] += 1
        return False

    with _moments(reached, signal.SIGKILL):
        yield count


@contextmanager
def killed_at(moment: int, number: signal.Signals) -> Iterator[None]:
    """Sends this process a signal at one of the moments inside the block."""
    left = moment

    def reached() -> bool:
        nonlocal left
        left -= 1
        return left == -1

    with _moments(reached, number):
        yield


@contextmanager
def _moments(reached: Callable[[], bool], number: signal.Signals) -> Iterator[None]:
    """Asks at every moment whether the time has come."""

    def moment() -> None:
        if reached():
            os.kill(os.getpid(), number)

    def around(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **options: Any) -> Any:
            moment()
            result = function(*args, **options)
            moment()
            return result

        return wrapped

    def log(lines: Any, record: dict[str, Any]) -> None:
        moment()
        if number == signal.SIGKILL and reached():
            lines._file.write(b'{"update": 1, "los')  # half of a line
            lines._file.flush()
            os.kill(os.getpid(), number)
        whole(lines, record)
        moment()

    whole = JsonLines.log
    places = [(os, name) for name in _OF_FILES]
    if distributed.is_available():
        places += [(distributed, name) for name in _OF_PROCESSES]
    before = [(place, name, getattr(place, name)) for place, name in places]
    try:
        JsonLines.log = log
        for place, name, function in before:
            setattr(place, name, around(function))
        yield
    finally:
        JsonLines.log = whole
        for place, name, function in before:
            setattr(place, name, function)
