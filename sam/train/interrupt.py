"""Signals that ask a run to end; the training loop polls them between two updates."""

import contextlib
import signal
from collections.abc import Iterator

# Ctrl-C; what schedulers send before they kill; a terminal that was closed.
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """Call it to ask whether a signal has come; `signal` is the number of the first, or None."""

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self) -> bool:
        return self.signal is not None

    @property
    def exit_code(self) -> int:
        """The exit code of a process that the signal has ended."""
        return 128 + (self.signal or signal.SIGINT)


@contextlib.contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Catches the first Ctrl-C, SIGTERM or SIGHUP inside the block; a second one acts as usual.

    A signal that the process was started to ignore, as `nohup` does with SIGHUP, stays ignored.

    Yields:
        The `Stop` to poll.

    Raises:
        ValueError: called outside the main thread; only that one can catch signals.
    """
    stop = Stop()
    numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    caught = [number for number in numbers if before[number] not in (signal.SIG_IGN, None)]

    def restore() -> None:
        for number in caught:
            signal.signal(number, before[number])

    def on_signal(number: int, frame: object) -> None:
        stop.signal = number
        restore()

    for number in caught:
        signal.signal(number, on_signal)
    try:
        yield stop
    finally:
        restore()
