"""The lines of a sweep's figures: which rows belong to one line, and over what it is drawn."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from sam.train.drawing import COLORS, LINES, MARKERS
from sam.train.sweep.plan import Sweep
from sam.train.sweep.rows import Row, shown_key

MEMORY = "memory_size"
_NAMES = {MEMORY: "words in memory, N"}


class Line(NamedTuple):
    """Rows that differ in the horizontal axis and the seed alone."""

    label: str
    color: str
    marker: str
    style: str
    shift: float  # to either side, in parts of the gap between two places, so that none is hidden
    rows: tuple[Row, ...]

    def points(self, key: str, axis: str | None) -> Iterator[tuple[float | None, list[float]]]:
        """Places on the axis, and the values of all seeds there; None for a line without places."""
        places: dict[float | None, list[float]] = {}
        for row in self.rows:
            if row.get(key) is not None:
                place = row[axis] if axis is not None else 0.0
                places.setdefault(place, []).append(float(row[key]))
        yield from sorted(places.items(), key=lambda item: item[0] or 0.0)


class Lines(NamedTuple):
    """All lines of a sweep, and what they are drawn over."""

    axis: str | None  # a column; None where the grid has no numbers
    title: str
    places: list[float]
    lines: list[Line]

    @property
    def is_logarithmic(self) -> bool:
        """Whether the places are spread so far that equal factors get equal distances."""
        low, high = min(self.places), max(self.places)
        return low > 0 and high / low >= 8

    def moved(self, place: float, line: Line) -> float:
        """Where on the axis a line has its point."""
        gaps = [b - a for a, b in zip(self.places, self.places[1:], strict=False)]
        ratios = [b / a for a, b in zip(self.places, self.places[1:], strict=False) if a > 0]
        if self.is_logarithmic:
            return place * min(ratios) ** line.shift
        return place + (min(gaps) if gaps else 1.0) * line.shift


def make_lines(sweep: Sweep, rows: Sequence[Row]) -> Lines:
    """Sorts the finished rows into lines.

    The axis is the memory's size, or else the first key of the grid with several numbers. Colour
    and marker tell the index, or else the first of the other keys; the kind of line the others.
    """
    done = [row for row in rows if row["status"] == "finished"]
    keys = [shown_key(key) for key in sweep.keys]
    numeric = [key for key in keys if len(_numbers(rows, key)) > 1]
    axis = MEMORY if MEMORY in numeric else next(iter(numeric), None)
    others = [key for key in keys if key != axis]
    first = "index" if "index" in others else next(iter(others), None)
    rest = [key for key in others if key != first]
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in done:
        groups.setdefault((first and row[first], *(row[key] for key in rest)), []).append(row)
    hues = [*dict.fromkeys(key[0] for key in groups)]
    kinds = [*dict.fromkeys(key[1:] for key in groups)]
    # Those that have a place: a model without the setting is drawn across, and beside no other.
    placed = [key for key, found in groups.items() if axis is None or _numbers(found, axis)]
    lines = []
    for key, found in groups.items():
        number = placed.index(key) if key in placed else 0
        words = [str(value) for value in key if value is not None]
        hue, kind = hues.index(key[0]), kinds.index(key[1:])
        lines.append(
            Line(
                label=", ".join(reversed(words)) or str(found[0]["run"]),
                color=COLORS[hue % len(COLORS)],
                marker=MARKERS[hue % len(MARKERS)],
                style=LINES[kind % len(LINES)],
                shift=0.05 * (number - (len(placed) - 1) / 2) * min(1.0, 8 / max(len(placed), 1)),
                rows=tuple(found),
            )
        )
    places = sorted(_numbers(done, axis)) if axis is not None else []
    title = "" if axis is None else _NAMES.get(axis, axis.replace("_", " "))
    return Lines(axis if places else None, title, places or [0.0], lines)


def _numbers(rows: Sequence[Row], key: str) -> set[float]:
    return {row[key] for row in rows if isinstance(row[key], int | float)}
