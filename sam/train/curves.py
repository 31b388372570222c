"""Learning curves of several runs in one figure, with a band over the seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from sam.errors import ConfigError
from sam.train.drawing import (
    COLORS,
    INK,
    LINES,
    legend_below,
    new_figure,
    plain_axes,
    save_figure,
    scale_with_zero,
)
from sam.train.folder import read_config
from sam.train.lines import read_metrics
from sam.train.names import METRICS
from sam.train.settings import to_tables
from sam.train.summary import error_unit
from sam.train.train_config import RunConfig

_FEW = 6  # lines that a panel takes before there is one for each memory size
_POINTS = 400  # of a line


CURVES = "curves.png"


class Curve(NamedTuple):
    """A run: its settings, and its lines of metrics.jsonl about updates."""

    config: RunConfig
    records: Sequence[Mapping[str, Any]]


class Group(NamedTuple):
    """Runs that differ in the seed alone, at common updates."""

    settings: dict[str, str]  # those in which the groups differ
    updates: np.ndarray  # [n]
    errors: np.ndarray  # [seeds, n]


def draw_curves(folders: Sequence[Path], path: Path) -> list[Path]:
    """Draws the learning curves of the runs in these folders; see `plot_curves`.

    Returns:
        The folders that are left out, since they have no line of metrics about an update.

    Raises:
        ConfigError: there is no such line in any of them, or one is damaged.
        OSError: a folder is no run.
    """
    curves, left_out = [], []
    for folder in folders:
        records = [r for r in read_metrics(folder / METRICS) if "window_error" in r]
        if records:
            curves.append(Curve(read_config(folder), records))
        else:
            left_out.append(folder)
    plot_curves(curves, path)
    return left_out


def plot_curves(curves: Sequence[Curve], path: Path) -> None:
    """Draws the mean error of the last updates: the median of the seeds, and their range.

    With many lines there is a panel for each size of memory. A run that ends before another seed of
    its group counts with its last error from then on.

    Args:
        curves: the runs.
        path: the PNG to write; the numbers drawn are in a JSON file beside it.

    Raises:
        ConfigError: there are no runs, or they are of tasks with different errors.
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    if not curves:
        raise ConfigError("curves: expected at least one run with metrics, got none")
    units = {error_unit(curve.config.task.kind) for curve in curves}
    if len(units) > 1:
        raise ConfigError(f"curves: expected runs with one kind of error, got {sorted(units)}")
    groups = grouped(curves)
    panels = _panels(groups)
    keys = _telling(groups, panels)
    labels = [*dict.fromkeys(_label(group, keys) for group in groups)]
    columns = 2 if len(panels) == 4 else min(len(panels), 3)
    rows = -(-len(panels) // columns)
    figure = new_figure(2.2 + 3.9 * columns, 1.0 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes, (title, inside) in zip(grid, panels.items(), strict=False):
        for group in inside:
            number = labels.index(_label(group, keys))
            # Equal curves lie on each other: the later one is the thinner one.
            width = 1.3 + 1.1 * (len(labels) - 1 - number) / max(len(labels) - 1, 1) * 2
            _draw(axes, group, number, labels[number], width)
        axes.set_title(title, color=INK, fontsize=10)
        axes.set_xlabel("updates", color=INK, fontsize=9)
        axes.tick_params(labelbottom=True)
        plain_axes(axes)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    scale_with_zero(grid[0], np.concatenate([g.errors.ravel() for g in groups]).tolist())
    grid[0].set_xlim(left=0)
    figure.supylabel(f"{units.pop()}, mean of the last updates", color=INK, fontsize=10)
    most = max(len(group.errors) for group in groups)
    seeds = f", median and range of {most} seeds" if most > 1 else ""
    figure.suptitle(f"{_tasks(curves)}{seeds}", color=INK, fontsize=11)
    legend_below(figure, *grid[: len(panels)], columns=5)
    data = [
        {**g.settings, "updates": g.updates.tolist(), "errors": g.errors.tolist()} for g in groups
    ]
    save_figure(figure, path, {"groups": data})


def grouped(curves: Sequence[Curve]) -> list[Group]:
    """Runs that differ in the seed alone, together; each with the settings that set it apart."""
    flat = [_flat(curve.config) for curve in curves]
    varied = [
        key
        for key in dict.fromkeys(key for settings in flat for key in settings)
        # What one of two models does not have follows from its kind.
        if key != "train.seed" and len({repr(one[key]) for one in flat if key in one}) > 1
    ]
    found: dict[tuple[str, ...], list[Curve]] = {}
    for settings, curve in zip(flat, curves, strict=True):
        key = tuple("" if settings.get(k) is None else str(settings[k]) for k in varied)
        found.setdefault(key, []).append(curve)
    groups = []
    for key, of_group in found.items():
        updates = np.unique([r["update"] for curve in of_group for r in curve.records])
        if len(updates) > _POINTS:
            updates = updates[np.linspace(0, len(updates) - 1, _POINTS).round().astype(int)]
        errors = [
            np.interp(
                updates,
                [record["update"] for record in curve.records],
                [record["window_error"] for record in curve.records],
            )
            for curve in of_group
        ]
        groups.append(Group(dict(zip(varied, key, strict=True)), updates, np.stack(errors)))
    return groups


def _flat(config: RunConfig) -> dict[str, Any]:
    tables = to_tables(config).items()
    return {f"{section}.{key}": value for section, table in tables for key, value in table.items()}


def _panels(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Groups by panel; all in one where they are few."""
    sizes = {group.settings.get(_SIZE, "") for group in groups}
    if len(groups) <= _FEW or len(sizes) < 2:
        return {"": [*groups]}
    panels: dict[str, list[Group]] = {}
    for group in sorted(groups, key=lambda group: int(group.settings.get(_SIZE) or 2**63)):
        size = group.settings.get(_SIZE)
        panels.setdefault(f"N = {int(size):,}" if size else "no memory", []).append(group)
    return panels


_SIZE = "model.memory_size"
# What names itself, and tells most; others are shown with their key.
_PLAIN = ("model.kind", "index.kind", "task.name", "optimizer.name")


def _telling(groups: Sequence[Group], panels: Mapping[str, object]) -> list[str]:
    """Settings that tell the groups apart; not those that follow from them.

    The more telling come first, and one that tells no group from another is left out.
    """
    varied = [*dict.fromkeys(key for group in groups for key in group.settings)]
    kept = [_SIZE] if len(panels) > 1 else []  # it is in the title of the panel
    for key in sorted(varied, key=lambda key: (key not in _PLAIN, key != _SIZE)):
        if _told_apart(groups, [*kept, key]) > _told_apart(groups, kept):
            kept.append(key)
    return [key for key in varied if key in kept and not (len(panels) > 1 and key == _SIZE)]


def _told_apart(groups: Sequence[Group], keys: Sequence[str]) -> int:
    return len({tuple(group.settings.get(key, "") for key in keys) for group in groups})


def _label(group: Group, keys: Sequence[str]) -> str:
    words = []
    for key in keys:
        if value := group.settings.get(key, ""):
            name = key.rpartition(".")[2].replace("_", " ")
            words.append(value if key in _PLAIN else f"{name} {value}")
    return ", ".join(words) or "all runs"


def _draw(axes: Any, group: Group, number: int, label: str, width: float) -> None:
    look = {"color": COLORS[number % len(COLORS)]}
    style = LINES[number // len(COLORS) % len(LINES)]
    middle = np.median(group.errors, axis=0)
    look |= {"marker": "o", "markersize": 4} if len(group.updates) < 2 else {}  # a point is no line
    axes.plot(group.updates, middle, linestyle=style, linewidth=width, label=label, **look)
    low, high = group.errors.min(0), group.errors.max(0)
    axes.fill_between(group.updates, low, high, alpha=0.15, linewidth=0, color=look["color"])


def _tasks(curves: Sequence[Curve]) -> str:
    return ", ".join(dict.fromkeys(curve.config.task_name for curve in curves))
