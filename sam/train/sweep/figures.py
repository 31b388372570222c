"""The figures of a sweep: error, and cost, against the memory's size; a line for each backend."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sam.train.curves import CURVES, draw_curves
from sam.train.drawing import (
    INK,
    label_decades,
    legend_below,
    new_figure,
    plain_axes,
    save_figure,
    scale_with_zero,
)
from sam.train.names import FIGURES, METRICS
from sam.train.summary import error_unit
from sam.train.sweep.lines import Line, Lines, make_lines
from sam.train.sweep.plan import Sweep
from sam.train.sweep.rows import Row

ERROR, COST = "error.png", "cost.png"


def draw_sweep(sweep: Sweep, folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Draws what there is to draw: errors of trained runs, and costs.

    Args:
        sweep: its plan.
        folder: of the sweep; the figures go into its folder `figures`.
        rows: of its table.

    Returns:
        The figures; none if no run is finished.

    Raises:
        BackendMissingError: matplotlib is not installed.
        OSError: a figure cannot be written.
    """
    lines = make_lines(sweep, rows)
    if not lines.lines:
        return []
    made = []
    title = _title(sweep)
    if not sweep.plan["cost_only"]:
        unit = error_unit(sweep.runs[0].config.task.kind)
        can_be_solved = any(row.get("solved") is not None for row in rows)
        hollow = ", hollow: not solved" if can_be_solved else ""
        panels = [
            ("error", "error at the end of training", unit, _logarithmic),
            ("test_error", "error on held-out data", unit, _logarithmic),
            ("updates", f"updates{hollow}", "updates", _from_zero),
        ]
        made.append(_draw(lines, rows, panels, folder / FIGURES / ERROR, title))
        trained = [folder / row["run"] for row in rows if row["status"] == "finished"]
        if any((run / METRICS).stat().st_size for run in trained):
            made.append(folder / FIGURES / CURVES)
            draw_curves(trained, made[-1])
    panels = [
        ("ms_per_step", "time per step, forward and backward", "milliseconds", _logarithmic),
        ("peak_mib", "bytes: peak of a training step, faint: state", "MiB", _logarithmic)
        if any(row.get("peak_mib") is not None for row in rows)
        else ("state_mib", "bytes of the state", "MiB", _logarithmic),
    ]
    recalls = [row["index_recall"] for row in rows if row.get("index_recall") is not None]
    if recalls and min(recalls) < 1:
        panels.append(("index_recall", "words found, of the K most similar", "recall", _share))
    made.append(_draw(lines, rows, panels, folder / FIGURES / COST, title))
    return made


def _title(sweep: Sweep) -> str:
    config = sweep.runs[0].config
    seeds = sweep.plan["seeds"]
    if sweep.plan["cost_only"]:
        filled = ", every word of the memory in use" if sweep.plan["full"] else ", fresh memories"
        return f"{config.task_name}, batch {config.train.batch_size}{filled}"
    over = f", median and range of {seeds} seeds" if seeds > 1 else ", one seed"
    return f"{config.task_name}{over}"


def _draw(
    lines: Lines,
    rows: Sequence[Row],
    panels: Sequence[tuple[str, str, str, Callable[..., None]]],
    path: Path,
    title: str,
) -> Path:
    figure = new_figure(4.6 * len(panels), 4.6)
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for axes, (key, name, unit, scale) in zip(grid, panels, strict=True):
        values = []
        for line in lines.lines:
            values += _draw_line(axes, lines, line, key)
            if key == "peak_mib":
                values += _draw_line(axes, lines, line, "state_mib", faint=True)
        scale(axes, values)
        axes.set_title(name, color=INK, fontsize=10)
        axes.set_ylabel(unit, color=INK, fontsize=9)
        _horizontal(axes, lines)
        plain_axes(axes)
    legend_below(figure, grid[0], columns=6)
    figure.suptitle(title, color=INK, fontsize=11)
    save_figure(figure, path, {"axis": lines.axis, "rows": [*rows]})
    return path


def _draw_line(
    axes: Any, lines: Lines, line: Line, key: str, *, faint: bool = False
) -> list[float]:
    """Draws the median through a band of all seeds; returns what was drawn."""
    points = [*line.points(key, lines.axis)]
    look = {"color": line.color, "linestyle": line.style, "linewidth": 1.6}
    if faint:
        look |= {"alpha": 0.4, "linewidth": 1.0}
    label = None if faint else line.label
    for place, values in points:
        if place is None:  # a model without this setting
            axes.axhline(median(values), label=label, **look)
            axes.axhspan(min(values), max(values), color=line.color, alpha=0.08, linewidth=0)
    points = [(place, values) for place, values in points if place is not None]
    if points:
        x = [lines.moved(place, line) for place, _ in points]
        y = [median(values) for _, values in points]
        low, high = ([limit(values) for _, values in points] for limit in (min, max))
        axes.plot(x, y, label=label, marker=line.marker, markersize=3 if faint else 5.5, **look)
        hollow = [i for i, (place, _) in enumerate(points) if _is_hollow(line, place, key)]
        inside = {"marker": line.marker, "s": 10, "color": "white", "zorder": 3, "linewidths": 0}
        axes.scatter([x[i] for i in hollow], [y[i] for i in hollow], **inside)
        if not faint:
            band = {"color": line.color, "alpha": 0.13, "linewidth": 0}
            axes.fill_between(x, low, high, **band)
            axes.vlines(x, low, high, color=line.color, alpha=0.5, linewidth=1.0)
    return [value for _, values in line.points(key, lines.axis) for value in values]


def _is_hollow(line: Line, place: float, key: str) -> bool:
    """Whether a seed has not solved the task, in the panel of updates."""
    there = [row for row in line.rows if place in row.values()]
    return key == "updates" and any(row["solved"] is False for row in there)


def _horizontal(axes: Any, lines: Lines) -> None:
    axes.set_xlabel(lines.title, color=INK, fontsize=9)
    if lines.axis is None:
        axes.set_xticks([])
        return
    if lines.is_logarithmic:
        axes.set_xscale("log", base=2)
    axes.set_xticks(lines.places, labels=[_short(place) for place in lines.places])
    axes.minorticks_off()


def _short(number: float) -> str:
    power = int(number).bit_length() - 1
    if number >= 1024 and number == 2**power:
        return f"$2^{{{power}}}$"
    return f"{number:,}" if isinstance(number, int) else f"{number:g}"


def _logarithmic(axes: Any, values: Sequence[float]) -> None:
    scale_with_zero(axes, values)
    low, high = axes.get_ylim()
    if axes.get_yscale() == "log":
        # A decade at least: what hardly differs must look so.
        middle = (low * high) ** 0.5
        axes.set_ylim(min(low, middle / 3.2), max(high, middle * 3.2))
        label_decades(axes)


def _from_zero(axes: Any, values: Sequence[float]) -> None:
    axes.set_ylim(0, 1.08 * max([*values, 1]))


def _share(axes: Any, values: Sequence[float]) -> None:
    axes.set_ylim(min([*values, 0.9]) - 0.05, 1.02)
