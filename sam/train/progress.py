"""Progress of a run, for its user: a bar on a terminal, plain lines elsewhere."""

import time
from typing import Any, Self, TextIO

from sam.train.extras import import_extra
from sam.train.loop import Update
from sam.train.watch import Watched

_REDRAWS = 5  # of the bar, a second
_WIDE = 130  # columns from which on the bar tells all


class Reporter:
    """What a run reports about itself. This one is silent, for runs started from Python.

    A context manager that is entered before the first call.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def begin(self, done: int, total: int) -> None:
        """Training starts after `done` updates and ends at `total` at the latest."""

    def updated(self, update: Update) -> None:
        """An update is done."""

    def say(self, text: str) -> None:
        """Something worth a line happened."""


def describe(update: Update, *, briefly: bool = False) -> str:
    """The numbers of an update in words; `briefly`, those of the task alone."""
    level = "" if update.level is None else f"level {update.level}, "
    result = f"{level}{update.loss:.3g} {update.unit}, error {update.error:.3g}"
    result += f", mean {update.window_error:.3g}"
    if briefly:
        return result
    seen = update.watched
    gate = "" if seen.write_gate is None else f", write gate {seen.write_gate:.2f}"
    used = "" if seen.memory_in_use is None else f", {100 * seen.memory_in_use:.3g} % in use"
    return f"{result}, gradient {update.gradient_norm:.3g}{gate}{used}"


class PlainReporter(Reporter):
    """Lines for files and pipes: the first update, then every `every`-th.

    Args:
        stream: where to write.
        every: updates between two lines.
    """

    def __init__(self, stream: TextIO, every: int = 100) -> None:
        self._stream, self._every = stream, every
        self._first = self._total = 0
        self._started = 0.0

    def begin(self, done: int, total: int) -> None:
        """Starts the clock."""
        self._first, self._total, self._started = done + 1, total, time.perf_counter()

    def updated(self, update: Update) -> None:
        """Writes the line of every `every`-th update."""
        number = update.number
        if number not in (self._first, self._total) and number % self._every:
            return
        rate = (number - self._first + 1) / max(time.perf_counter() - self._started, 1e-9)
        self.say(
            f"update {number}/{self._total}: {describe(update)}; {rate:.3g} updates/s, "
            f"at most {duration((self._total - number) / rate)} left"
        )

    def say(self, text: str) -> None:
        """Writes a line at once."""
        print(text, file=self._stream, flush=True)


class BarReporter(Reporter):
    """A progress bar; what is said appears above it.

    Args:
        stream: a terminal.

    Raises:
        BackendMissingError: rich is not installed.
    """

    def __init__(self, stream: TextIO) -> None:
        rich = import_extra("rich.progress")
        self._bar = rich.Progress(
            rich.MofNCompleteColumn(),
            rich.BarColumn(bar_width=20),
            rich.TextColumn("{task.description}"),
            rich.TextColumn("{task.fields[rate]}"),
            rich.TimeElapsedColumn(),
            rich.TimeRemainingColumn(),
            console=import_extra("rich.console").Console(file=stream),
            refresh_per_second=_REDRAWS,
        )
        self._task: Any = None
        self._first, self._started = 0, 0.0
        self._last: Update | None = None
        self._shown = 0.0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._last is not None:
            self._show(self._last, time.perf_counter())
        self._bar.stop()

    def begin(self, done: int, total: int) -> None:
        """Shows the bar."""
        self._first, self._started = done, time.perf_counter()
        self._task = self._bar.add_task("", total=total, completed=done, rate="")

    def updated(self, update: Update) -> None:
        """Moves the bar, at most as often as it is drawn; the last update is always shown."""
        if self._last is not None and update.watched == Watched():
            update = update._replace(watched=self._last.watched)  # not every update is looked at
        self._last, now = update, time.perf_counter()
        if now - self._shown >= 1 / _REDRAWS:
            self._show(update, now)

    def _show(self, update: Update, now: float) -> None:
        self._shown = now
        rate = (update.number - self._first) / max(now - self._started, 1e-9)
        self._bar.update(
            self._task,
            completed=update.number,
            description=describe(update, briefly=self._bar.console.width < _WIDE),
            rate=f"{rate:.1f}/s",
        )

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.console.print(text, markup=False, highlight=False)


def make_reporter(stream: TextIO) -> Reporter:
    """A bar if the stream is a terminal, plain lines otherwise."""
    return BarReporter(stream) if stream.isatty() else PlainReporter(stream)


def duration(seconds: float) -> str:
    """Writes a time as 1:02:03, 2:03 or 0:03."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
