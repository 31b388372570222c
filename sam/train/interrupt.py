"""Ctrl-C as a question the training loop asks between two updates."""

import contextlib
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def stop_on_interrupt() -> Iterator[Callable[[], bool]]:
    """Catches the first Ctrl-C inside the block; a second one interrupts as usual.

    Yields:
        A function that says whether Ctrl-C was pressed.

    Raises:
        ValueError: called outside the main thread, which alone can catch signals.
    """
    asked = False

    def on_interrupt(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
