"""What a sweep shows of itself: bars on a terminal, elsewhere a line for each run that ended."""

from typing import Any, Self, TextIO

from sam.train.extras import import_extra

_NARROW = 34  # columns of a run's name


class Display:
    """Lines for files and pipes. A context manager.

    Args:
        stream: where to write.
        total: runs in all.
        kept: of them, those that were finished before.
    """

    def __init__(self, stream: TextIO, total: int, kept: int) -> None:
        self._stream, self._total, self._ended = stream, total, kept

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        return None

    def started(self, name: str) -> None:
        """A process has been given a run."""

    def begun(self, name: str, done: int, total: int) -> None:
        """A run trains on, after `done` of at most `total` updates."""

    def at(self, name: str, update: int, error: float) -> None:
        """A run is at an update; the error is the mean of its last updates."""

    def ended(self, name: str, text: str) -> None:
        """A run has ended; `text` says how."""
        self._ended += 1
        self.say(f"[{self._ended}/{self._total}] {name}: {text}")

    def say(self, text: str) -> None:
        """Writes a line at once."""
        print(text, file=self._stream, flush=True)


class Bars(Display):
    """One bar for all runs, and one for each that is being trained.

    Raises:
        BackendMissingError: rich is not installed.
    """

    def __init__(self, stream: TextIO, total: int, kept: int) -> None:
        super().__init__(stream, total, kept)
        rich = import_extra("rich.progress")
        self._bars = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=20),
            rich.MofNCompleteColumn(),
            rich.TextColumn("{task.fields[error]}"),
            rich.TimeElapsedColumn(),
            console=import_extra("rich.console").Console(file=stream),
            refresh_per_second=5,
        )
        self._all = self._bars.add_task("all runs", total=total, completed=kept, error="")
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bars.stop()

    def started(self, name: str) -> None:
        """Adds a bar."""
        shown = name if len(name) <= _NARROW else f"{name[: _NARROW - 3]}..."
        self._tasks[name] = self._bars.add_task(shown, total=None, error="")

    def begun(self, name: str, done: int, total: int) -> None:
        """Fills the bar as far as the run is."""
        self._bars.update(self._tasks[name], completed=done, total=total)

    def at(self, name: str, update: int, error: float) -> None:
        """Moves the bar."""
        self._bars.update(self._tasks[name], completed=update, error=f"error {error:.3g}")

    def ended(self, name: str, text: str) -> None:
        """Removes the bar; a line stays."""
        task = self._tasks.pop(name, None)
        if task is not None:
            self._bars.remove_task(task)
        super().ended(name, text)
        self._bars.update(self._all, completed=self._ended)

    def say(self, text: str) -> None:
        """Writes a line above the bars."""
        self._bars.console.print(text, markup=False, highlight=False)


def make_display(stream: TextIO, total: int, kept: int) -> Display:
    """Bars if the stream is a terminal, plain lines otherwise."""
    return (Bars if stream.isatty() else Display)(stream, total, kept)
