"""The learning curve of a run; `sam.train.access_map` draws its memory accesses.

A function takes data and a path, and saves a PNG with the data beside it, under the same name with
the suffix ``.json``.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sam.errors import ConfigError
from sam.train.access_map import Accesses as Accesses
from sam.train.access_map import accesses as accesses
from sam.train.access_map import plot_access_map as plot_access_map
from sam.train.drawing import (
    ACCENT,
    FAINT,
    INK,
    legend_below,
    new_figure,
    plain_axes,
    save_figure,
    scale_with_zero,
)
from sam.train.kinds import KINDS
from sam.train.slice_errors import mean_error

_KEYS = ("update", "loss", "error", "window_error")
_TIME_TICKS = 6


def plot_learning_curve(
    records: Sequence[Mapping[str, Any]],
    path: str | Path,
    *,
    title: str = "",
    error_unit: str = "error",
    kind: str = "bits",
    times: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Draws error and loss against updates, on logarithmic axes that have a place for 0.

    Where the error is the loss, as that of tokens, there is one panel.

    Args:
        records: lines of metrics.jsonl. Evaluations appear as points: the mean of their sequences.
        path: the PNG to write.
        title: above the figure.
        error_unit: what the error counts.
        kind: of the task, which says what the error of an evaluation is.
        times: lines of timing.jsonl, for a second axis of wall time.

    Raises:
        ConfigError: there is no record with a loss.
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    rows = [record for record in records if "loss" in record]
    if not rows:
        raise ConfigError("records: expected at least one update with a loss, got none")
    data: dict[str, Any] = {key: [row[key] for row in rows] for key in _KEYS}
    data["evaluations"] = evaluations(records, kind)
    panels = [("error", error_unit, data["window_error"])]
    if KINDS[kind].loss != KINDS[kind].error:
        panels.append(("loss", KINDS[kind].loss, running_mean(data["loss"])))
    figure = new_figure(8.0, 1.5 + 2.25 * len(panels))
    grid = figure.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    top, bottom = grid[0], grid[-1]
    for axes, (key, label, smooth) in zip(grid, panels, strict=True):
        # Dots: single updates jump between lengths, and a line would only join the jumps.
        dots = {"color": FAINT, "markersize": 3, "clip_on": False, "zorder": 1.5}
        axes.plot(data["update"], data[key], ".", label="one update", **dots)
        axes.plot(data["update"], smooth, color=ACCENT, linewidth=1.8, label="mean of the last")
        points = [(one["update"], one[key]) for one in data["evaluations"]]
        if points:
            marks = {"color": INK, "markersize": 5, "clip_on": False, "zorder": 3}
            axes.plot(*zip(*points, strict=True), "D", label="evaluation", **marks)
        scale_with_zero(axes, [*data[key], *smooth, *(value for _, value in points)])
        axes.set_ylabel(label, color=INK)
        plain_axes(axes)
    bottom.set_xlabel("updates", color=INK)
    bottom.set_xlim(0, max(data["update"]))
    _time_axis(top, times)
    legend_below(figure, top)
    figure.suptitle(title or "learning curve", color=INK)
    save_figure(figure, path, data)


def evaluations(records: Sequence[Mapping[str, Any]], kind: str) -> list[dict[str, float]]:
    """Loss and error of each evaluation among the records, means over all of its sequences."""
    found = []
    for record in records:
        slices = record.get("evaluation", ())
        error = mean_error(slices, kind)
        if error is not None:
            count = sum(one["sequences"] for one in slices)
            loss = sum(one["loss"] * one["sequences"] for one in slices) / count
            found.append({"update": record["update"], "loss": loss, "error": error})
    return found


def running_mean(values: Sequence[float]) -> list[float]:
    """Mean of the last twentieth of the curve, and at least of 10 points, up to each point."""
    width = max(10, len(values) // 20)
    sums = torch.tensor([0.0, *values], dtype=torch.float64).cumsum(0)
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - width).clamp(min=0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def _time_axis(axes: Any, times: Sequence[Mapping[str, Any]]) -> None:
    """Seconds or minutes of training above the panel, at the updates that took so long."""
    pairs = sorted({(line["update"], line["seconds"]) for line in times})
    updates = [0.0, *(float(update) for update, _ in pairs)]
    seconds = [0.0, *accumulate((float(second) for _, second in pairs), max)]
    if len(pairs) < 2 or any(b <= a for a, b in pairwise(updates)) or seconds[-1] <= 0:
        return
    # Times that stand still have no inverse.
    rising = np.asarray(seconds) + np.arange(len(seconds)) * 1e-9 * seconds[-1]
    unit, name = (60.0, "minutes") if seconds[-1] > 180 else (1.0, "seconds")
    second = axes.secondary_xaxis(
        "top",
        functions=(
            lambda update: np.interp(update, updates, rising) / unit,
            lambda time: np.interp(np.asarray(time) * unit, rising, updates),
        ),
    )
    second.set_xlabel(f"{name} of training", color=INK, fontsize=9)
    second.tick_params(colors=INK, labelsize=9)
    second.xaxis.get_major_locator().set_params(nbins=_TIME_TICKS)
