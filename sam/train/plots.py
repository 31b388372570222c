"""Figures of a run: its learning curve, and the memory accesses of one episode.

Each function takes data and a path, and saves a PNG with the data beside it, under the same name
with the suffix ``.json``. Matplotlib is imported here, without a display, when a figure is made.
"""

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.errors import ConfigError
from sam.train.extras import import_extra
from sam.train.run_files import write_atomic

INK, FAINT, ACCENT = "#22303c", "#9fb3c8", "#c2410c"
FAINTEST = 0.005  # of dense weights, which are nowhere 0: what counts as an access in the SAM paper
MOST_ROWS = 4096  # of an access map; memory touched in a wider range is folded into this many


class Accesses(NamedTuple):
    """Words read, or written, in one episode: one entry per head and word, with a weight > 0."""

    steps: list[int]
    heads: list[int]
    slots: list[int]
    weights: list[float]


def accesses(slots: Tensor | None, weights: Tensor, row: int = 0) -> Accesses:
    """Lists the accesses of one batch row of a trace.

    Args:
        slots: int64 [T, B, H, K], -1 for none; None if the weights are over all words.
        weights: [T, B, H, K], or [T, B, H, N] without slots.
        row: the batch row.

    Returns:
        The entries whose slot exists and whose weight is above 0, or above 0.005 without slots, in
        the order of time.

    Cost: O(T H K), whatever the memory size; O(T H N) without slots.
    """
    weights = weights[:, row].detach().cpu()
    least = 0.0
    if slots is None:
        slots, least = torch.arange(weights.shape[-1]).expand_as(weights), FAINTEST
    else:
        slots = slots[:, row].cpu()
    steps, heads, places = ((slots >= 0) & (weights > least)).nonzero(as_tuple=True)
    chosen = steps, heads, places
    return Accesses(
        steps.tolist(), heads.tolist(), slots[chosen].tolist(), weights[chosen].tolist()
    )


def plot_learning_curve(
    records: list[dict[str, Any]], path: str | Path, *, title: str = "", error_unit: str = "error"
) -> None:
    """Draws error and loss against updates, on logarithmic axes where there is something above 0.

    Args:
        records: lines of metrics.jsonl; those without a loss (evaluations) are left out.
        path: the PNG to write.
        title: above the figure.
        error_unit: what the error counts.

    Raises:
        ConfigError: there is no record with a loss.
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    keys = ("update", "loss", "error", "window_error")
    rows = [record for record in records if "loss" in record]
    if not rows:
        raise ConfigError("records: expected at least one update with a loss, got none")
    data = {key: [row[key] for row in rows] for key in keys}
    figure = _figure(8.0, 5.4)
    top, bottom = figure.subplots(2, 1, sharex=True)
    panels = (
        (top, "error", error_unit, "window_error", "mean of the last updates"),
        (bottom, "loss", "bits per sequence", None, ""),
    )
    for axes, key, label, mean, mean_label in panels:
        curves = data[key] if mean is None else data[key] + data[mean]
        # Dots: single updates jump between lengths, and a line would only join the jumps.
        axes.plot(data["update"], data[key], ".", color=FAINT, markersize=3, label="one update")
        smooth = data[mean] if mean else _running_mean(data[key])
        axes.plot(
            data["update"], smooth, color=ACCENT, linewidth=1.8, label=mean_label or "running mean"
        )
        if any(value > 0 for value in curves):
            # A zero has no place on a logarithmic axis: its dot is left out, its line sinks.
            axes.set_yscale("log", nonpositive="clip")
            axes.set_ylim(bottom=min(value for value in curves if value > 0) / 1.5)
        axes.set_ylabel(label)
        axes.grid(True, which="major", color="#e3e8ee", linewidth=0.6)
        axes.legend(loc="lower left", fontsize=9, framealpha=0.9, edgecolor="none")
    bottom.set_xlabel("updates")
    bottom.margins(x=0.01)
    figure.suptitle(title or "learning curve", color=INK)
    _save(figure, path, data)


def plot_access_map(
    reads: Accesses, writes: Accesses, steps: int, path: str | Path, *, title: str = ""
) -> None:
    """Draws two panels, writes and reads: slots against time, dark where the weight is high.

    A word that several heads accessed shows the highest of their weights. The axis of slots spans
    what was touched.

    Args:
        reads: from `accesses`.
        writes: from `accesses`.
        steps: T, length of the episode.
        path: the PNG to write.
        title: above the figure.

    Raises:
        ConfigError: nothing was read or written.
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    touched = reads.slots + writes.slots
    if not touched:
        raise ConfigError("accesses: expected at least one read or write, got none")
    low, high = min(touched), max(touched)
    fold = (high - low) // MOST_ROWS + 1
    figure = _figure(10.0, 5.0)
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    image = None
    for axes, name, entries in zip(panels, ("writes", "reads"), (writes, reads), strict=True):
        weights = torch.zeros((high - low) // fold + 1, steps)
        place = (torch.tensor(entries.slots) - low) // fold * steps + torch.tensor(entries.steps)
        weights.view(-1).scatter_reduce_(0, place.long(), torch.tensor(entries.weights), "amax")
        image = axes.imshow(
            # What was not touched stays white, apart from what was touched lightly.
            weights.masked_fill(weights == 0, float("nan")).numpy(),
            aspect="auto",
            origin="lower",
            cmap="magma_r",
            vmin=0,
            vmax=1,
            interpolation="nearest",
            extent=(-0.5, steps - 0.5, low - 0.5, low - 0.5 + fold * weights.shape[0]),
        )
        axes.set_title(name, color=INK, fontsize=11)
        axes.set_xlabel("time step")
    panels[0].set_ylabel("slot")
    figure.colorbar(image, ax=panels, label="weight, highest of the heads", fraction=0.05, pad=0.02)
    figure.suptitle(title or "memory accesses in one episode", color=INK)
    _save(figure, path, {"steps": steps, "reads": reads._asdict(), "writes": writes._asdict()})


def _running_mean(values: list[float]) -> list[float]:
    """Mean of the last twentieth of the curve, and at least of 10 points, up to each point."""
    width = max(10, len(values) // 20)
    sums = torch.tensor([0.0, *values], dtype=torch.float64).cumsum(0)
    ends = torch.arange(1, len(values) + 1)
    starts = (ends - width).clamp(min=0)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def _figure(width: float, height: float) -> Any:
    # A Figure without pyplot has no window and leaves no global state behind.
    return import_extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def _save(figure: Any, path: str | Path, data: dict[str, Any]) -> None:
    path = Path(path)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=140)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.with_suffix(".json"), json.dumps(data) + "\n")
    write_atomic(path, picture.getvalue())
