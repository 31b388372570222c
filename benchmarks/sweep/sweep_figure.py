"""The figure of `benchmarks.memory_sweep`: time and bytes per step against the memory's size.

After figure 1 of the SAM paper, with log axes; what it shows for full memories is dashed.
"""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.sweep.sweep_case import LOOP, LSTM
from benchmarks.sweep.sweep_file import Sweep
from benchmarks.workload import PATHS, paths_with
from sam.train.extras import import_extra
from sam.train.run_files import write_atomic

PARTS_SHOWN = ("fresh", "dense", "full")
INK, FAINT, GRID = "#22303c", "#7b8794", "#e3e8ee"
# Colours that stay apart for all kinds of colour vision (Okabe and Ito); shapes report as well.
_BLUE, _SKY, _GREEN, _ORANGE, _RED, _PINK = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
)
_WAYS = {"sequence": "whole sequence", "step": "stepwise"}


class Style(NamedTuple):
    """How a line is drawn."""

    label: str
    color: str
    marker: str


_DENSE = {
    "ntm": Style("NTM", _RED, "s"),
    "dam": Style("DAM", _ORANGE, "D"),
    "dnc": Style("DNC", _PINK, "^"),
}
_INDEXES = {
    "lsh": ("LSH", "v"),
    "ivf": ("inverted lists", "<"),
    "product": ("product", "d"),
    "faiss": ("FAISS", ">"),
}


def plot_sweep(sweep: Sweep, path: Path) -> None:
    """Draws two panels over N: milliseconds per step, and bytes kept per step and batch row.

    Args:
        sweep: what `benchmarks.memory_sweep` measured; the parts `PARTS_SHOWN`.
        path: the PNG to write.

    Raises:
        BackendMissingError: matplotlib is not installed.
        ResultsError: a part is missing or damaged.
        OSError: the figure cannot be written.
    """
    # A Figure without pyplot has no window and leaves no global state behind.
    figure = import_extra("matplotlib.figure").Figure(figsize=(10.0, 5.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    for style, entries, line in _lines(sweep):
        sizes = [entry["memory_size"] for entry in entries]
        common = {
            "color": style.color,
            "marker": style.marker,
            "markersize": 5,
            "linewidth": 1.6,
            "linestyle": line,
            "markerfacecolor": "white" if line == "--" else style.color,
        }
        _with_range(left, sizes, entries, common | {"label": style.label})
        if line == "-" and all("bytes_per_step" in entry for entry in entries):
            right.plot(sizes, [entry["bytes_per_step"] for entry in entries], **common)
    _baselines(left, sweep)
    _axes(left, right, sweep)
    setting = sweep.part("fresh")
    workload, machine = setting["plan"]["workload"], setting["machine"]
    figure.suptitle(
        f"{workload['num_heads']} heads, K = {workload['top_k']}, W = {workload['word_size']}, "
        f"hidden {workload['hidden_size']}, batch {workload['batch_size']}, float32; "
        f"{machine['processor']}, {setting['threads']} thread"
        + ("s" if setting["threads"] > 1 else "")
        + "; full: every slot holds a word",
        color=INK,
        fontsize=10,
    )
    figure.legend(
        *left.get_legend_handles_labels(),
        loc="outside lower center",
        ncols=4,
        fontsize=9,
        handlelength=2.8,
        frameon=False,
    )
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, picture.getvalue())


def _lines(sweep: Sweep) -> Iterator[tuple[Style, list[dict[str, Any]], str]]:
    """What is drawn: style, entries by size, and "-" or "--"."""
    for model, style in _DENSE.items():
        if found := _sorted([*sweep.entries("dense", model=model)]):
            yield style, found, "-"
    fresh = [*sweep.entries("fresh")]
    sdnc = [entry for entry in fresh if entry["model"] == "sdnc"]
    yield (
        Style("SDNC", _GREEN, "P"),
        _sorted([e for e in sdnc if e["path"] == sdnc[0]["path"]]),
        "-",
    )
    sam = [entry for entry in fresh if entry["model"] == "sam"]
    for index, (name, marker) in _INDEXES.items():
        if found := _sorted([entry for entry in sam if entry["index"] == index]):
            yield Style(f"SAM, {name}", _SKY, marker), found, "-"
    for path, way in _WAYS.items():
        found = [e for e in sam if e["index"] == "exact" and e["path"] == path]
        if found:
            marker = "o" if path == PATHS[0] else "X"
            yield Style(f"SAM, {way}", _BLUE, marker), _sorted(found), "-"
    for index, (name, marker) in {"exact": ("exact", "o"), **_INDEXES}.items():
        found = [*sweep.entries("full", full=True, index=index, path=paths_with(index)[0])]
        if found:
            color = _BLUE if index == "exact" else _SKY
            yield Style(f"SAM, {name}, full", color, marker), _sorted(found), "--"


def _sorted(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(entries, key=lambda entry: entry["memory_size"])


def _with_range(
    axes: Any, sizes: list[int], entries: list[dict[str, Any]], style: dict[str, Any]
) -> None:
    spreads = [entry["seconds_per_step"]["total"] for entry in entries]
    middle = [1e3 * spread["median"] for spread in spreads]
    below = [1e3 * (spread["median"] - spread["low"]) for spread in spreads]
    above = [1e3 * (spread["high"] - spread["median"]) for spread in spreads]
    axes.plot(sizes, middle, **style)
    bars = {"color": style["color"], "elinewidth": 0.7, "linestyle": "none"}
    axes.errorbar(sizes, middle, yerr=(below, above), **bars)


def _within(value: float, limits: tuple[float, float]) -> bool:
    return limits[0] <= value <= limits[1]


def _baselines(axes: Any, sweep: Sweep) -> None:
    for name, line, label in ((LOOP, "-", "nn.LSTMCell loop"), (LSTM, ":", "nn.LSTM")):
        for entry in sweep.entries("fresh", model=name):
            middle = 1e3 * entry["seconds_per_step"]["total"]["median"]
            axes.axhline(middle, color=INK, linestyle=line, linewidth=1.3, label=label)


def _axes(left: Any, right: Any, sweep: Sweep) -> None:
    largest = max(entry["memory_size"] or 0 for entry in sweep.entries("fresh"))
    ticks = [2**n for n in range(6, largest.bit_length(), 4)]
    for axes in (left, right):
        axes.set_xscale("log", base=2)
        axes.set_xticks(ticks)
        axes.set_yscale("log")
        axes.minorticks_off()
        axes.set_xlabel("words in memory, N", color=INK)
        axes.grid(True, color=GRID, linewidth=0.7)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
    shown = [value for value in (0.01, 0.1, 1, 10, 100, 1000) if _within(value, left.get_ylim())]
    left.set_yticks(shown, labels=[f"{value:g}" for value in shown])
    left.set_ylabel("milliseconds, forward and backward", color=INK)
    left.set_title("(a) time per step", color=INK, fontsize=11)
    units = {1e3: "1 kB", 1e4: "10 kB", 1e5: "100 kB", 1e6: "1 MB", 1e7: "10 MB", 1e8: "100 MB"}
    units |= {1e9: "1 GB", 1e10: "10 GB"}
    right.set_ylim(bottom=1e3)
    labels = {value: text for value, text in units.items() if _within(value, right.get_ylim())}
    right.set_yticks([*labels], labels=[*labels.values()])
    right.set_ylabel("kept for the backward pass", color=INK)
    right.set_title("(b) bytes per step and sequence", color=INK, fontsize=11)
