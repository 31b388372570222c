"""The figure of `benchmarks.memory_sweep`: time and bytes per step against the memory's size."""

import io
from pathlib import Path
from typing import Any

from benchmarks.harness import Spread
from sam.train.extras import import_extra
from sam.train.files import write_atomic

INK, FAINT, GRID = "#22303c", "#7b8794", "#e3e8ee"
TOTAL, FORWARD, BACKWARD = "#c2410c", "#0f766e", "#4f46e5"


def plot_sweep(results: dict[str, Any], path: Path) -> None:
    """Draws two panels over N: milliseconds per step, and bytes kept per step and batch row.

    Bars are the range over the rounds. A dense model writes to every word at each step and keeps a
    copy of the memory before, N W numbers; that line is computed, not measured.

    Args:
        results: what `benchmarks.memory_sweep` measured.
        path: the PNG to write.

    Raises:
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    # A Figure without pyplot has no window and leaves no global state behind.
    figure = import_extra("matplotlib.figure").Figure(figsize=(10.0, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _time_panel(left, results)
    _bytes_panel(right, results)
    sizes = [entry["memory_size"] for entry in results["sam"]]
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(sizes[:: max(1, len(sizes) // 5)])
        axes.minorticks_off()
        axes.set_xlabel("words in memory, N", color=INK)
        axes.grid(True, color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    setting, machine = results["setting"], results["machine"]
    figure.suptitle(
        f"SAM, {setting['num_heads']} heads, K = {setting['top_k']}, W = {setting['word_size']}, "
        f"hidden {setting['hidden_size']}, batch {setting['batch_size']}, T = {setting['steps']}, "
        f"float32; {machine['processor']}, {results['threads']} thread"
        + ("s" if results["threads"] > 1 else ""),
        color=INK,
        fontsize=10,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, picture.getvalue())


def _time_panel(axes: Any, results: dict[str, Any]) -> None:
    sizes = [entry["memory_size"] for entry in results["sam"]]
    for phase, color, label in (
        ("total", TOTAL, "SAM, forward + backward"),
        ("backward", BACKWARD, "SAM, backward"),
        ("forward", FORWARD, "SAM, forward"),
    ):
        spreads = [Spread(*entry["seconds_per_step"][phase]) for entry in results["sam"]]
        middle = [1e3 * s.median for s in spreads]
        below = [1e3 * (s.median - s.low) for s in spreads]
        above = [1e3 * (s.high - s.median) for s in spreads]
        axes.errorbar(
            sizes,
            middle,
            yerr=(below, above),
            color=color,
            marker="o",
            markersize=4,
            capsize=2,
            linewidth=1.8,
            elinewidth=0.9,
            label=label,
        )
    lstm = 1e3 * results["lstm_cell_loop"]["seconds_per_step"]["total"].median
    label = "nn.LSTMCell loop, forward + backward"
    axes.axhline(lstm, color=FAINT, linestyle="--", linewidth=1.5, label=label)
    axes.set_ylim(bottom=0)
    # Room for the legend above the highest curve.
    axes.set_ylim(top=1.45 * axes.get_ylim()[1])
    axes.set_ylabel("milliseconds per step", color=INK)
    axes.set_title("time", color=INK, fontsize=11)
    axes.legend(loc="upper right", fontsize=8.5, frameon=False)


def _bytes_panel(axes: Any, results: dict[str, Any]) -> None:
    sizes = [entry["memory_size"] for entry in results["sam"]]
    kept = [entry["bytes_per_step"] for entry in results["sam"]]
    dense = [4 * size * results["setting"]["word_size"] for size in sizes]
    label = "one copy of the memory, as dense\nmodels keep (computed)"
    axes.plot(sizes, dense, color=FAINT, linestyle="--", linewidth=1.5, label=label)
    axes.plot(sizes, kept, color=TOTAL, marker="o", markersize=4, linewidth=1.8, label="SAM")
    axes.annotate(
        f"{kept[-1] / 1e3:.1f} kB",
        (sizes[-1], kept[-1]),
        xytext=(0, 8),
        textcoords="offset points",
        ha="right",
        color=TOTAL,
        fontsize=9,
    )
    axes.set_yscale("log")
    axes.set_yticks([1e3, 1e6, 1e9, 1e12], labels=["1 kB", "1 MB", "1 GB", "1 TB"])
    axes.set_ylim(1e3, 1e12)
    axes.minorticks_off()
    axes.set_ylabel("kept for the backward pass", color=INK)
    axes.set_title("bytes per step and sequence", color=INK, fontsize=11)
    axes.legend(loc="upper left", fontsize=8.5, frameon=False)
