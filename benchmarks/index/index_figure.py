"""The figure of `benchmarks.index`: recall against milliseconds, for each index a line."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_figure import GRID, INK
from sam.train.extras import import_extra
from sam.train.run_files import write_atomic

# By family: colour and marker.
STYLE = {
    "exact": ("#7b8794", "s"),
    "raw faiss": ("#22303c", "x"),
    "faiss": ("#4f46e5", "D"),
    "ivf": ("#c2410c", "o"),
    "product": ("#0f766e", "^"),
    "lsh": ("#65a30d", "v"),
    "auto": ("#be185d", "P"),
}
_OTHER = ("#64748b", "*")
_WORD_SIZE = 32

# Milliseconds, recall and what to write beside the point.
Point = tuple[float, float, str]


def plot_index(results: dict[str, Any], path: Path) -> None:
    """Draws three panels: clustered and Gaussian words, a point for each N, and GloVe.

    Further right is slower, further up finds more. On GloVe a line joins the settings of an index.

    Args:
        results: the content of index.json; what it lacks stays an empty panel.
        path: the PNG to write.

    Raises:
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    # A Figure without pyplot has no window and leaves no global state behind.
    figure = import_extra("matplotlib.figure").Figure(figsize=(13.0, 4.4), layout="constrained")
    panels = figure.subplots(1, 3)
    records = results["records"]
    for axes, part in zip(panels, ("clustered", "gaussian"), strict=False):
        _panel(axes, sized_points(records, part), f"{part.capitalize()} words, a point for each N")
        axes.set_xlabel("ms per step: update + search", color=INK)
        axes.set_ylabel("recall@8 after churn", color=INK)
    _panel(panels[2], glove_points(records), "GloVe, a point for each setting")
    panels[2].set_xlabel("ms per query", color=INK)
    panels[2].set_ylabel("recall@10", color=INK)
    known: dict[str, Any] = {}
    for axes in panels:
        handles, labels = axes.get_legend_handles_labels()
        known |= dict(zip(labels, handles, strict=True))
    if known:
        figure.legend(
            known.values(), known.keys(), loc="outside lower center", ncols=7, frameon=False
        )
    figure.suptitle(_title(records), color=INK, fontsize=10)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, picture.getvalue())


def sized_points(records: Sequence[dict[str, Any]], part: str) -> dict[str, list[Point]]:
    """By family a point for each N, ascending: total milliseconds and recall@8 after churn."""
    points: dict[str, list[Point]] = {}
    for record in sorted(records, key=lambda record: record["memory_size"]):
        if record["part"] != part or record["word_size"] != _WORD_SIZE:
            continue
        label = f"2^{record['memory_size'].bit_length() - 1}"
        for entry in record["indexes"]:
            state = entry["churned"]
            point = state["ms"]["total"]["median"], state["recall_k"], label
            points.setdefault(entry["family"], []).append(point)
    return points


def glove_points(records: Sequence[dict[str, Any]]) -> dict[str, list[Point]]:
    """By family a point for each setting, the fastest first."""
    points: dict[str, list[Point]] = {}
    for record in records:
        if record["part"] != "glove":
            continue
        for entry in sorted(record["indexes"], key=lambda e: e["ms_per_query"]["median"]):
            probes = entry["name"].partition("probes=")[2].partition(",")[0].rstrip("]")
            point = entry["ms_per_query"]["median"], entry["recall_k"], probes
            points.setdefault(entry["family"], []).append(point)
    return points


def _panel(axes: Any, points: dict[str, list[Point]], title: str) -> None:
    for family, found in points.items():
        color, marker = STYLE.get(family, _OTHER)
        times, recalls, _ = zip(*found, strict=True)
        axes.plot(
            times, recalls, color=color, marker=marker, markersize=5, linewidth=1.2, label=family
        )
        for x, y, text in (found[0], found[-1]) if len(found) > 1 else ():
            axes.annotate(
                text,
                (x, y),
                xytext=(0, 5),
                textcoords="offset points",
                ha="center",
                color=color,
                fontsize=7,
            )
    if points:  # without one, a logarithmic axis has no range
        ticker = import_extra("matplotlib.ticker")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, place: f"{value:g}")
        axes.minorticks_off()
    axes.set_ylim(0, 1.06)
    axes.set_title(title, color=INK, fontsize=11)
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _title(records: Sequence[dict[str, Any]]) -> str:
    if not records:
        return "nothing measured"
    threads = records[0]["threads"]
    text = f"{records[0]['machine']['processor']}, {threads} thread" + ("s" if threads > 1 else "")
    for record in records:
        if "writes" in record:
            return (
                f"batch {record['batch_size']}, W = {_WORD_SIZE}; a step replaces "
                f"{record['writes']} words of each memory and searches for {record['queries']} x "
                f"{record['top_k']}; {text}"
            )
    return text
