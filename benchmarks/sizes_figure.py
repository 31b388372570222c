"""The figure of `benchmarks.sizes`: SAM's times of the loop against the batch, a line a width."""

import io
from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_figure import FAINT, GRID, INK
from sam.train.extras import import_extra
from sam.train.run_files import write_atomic

STEPS = 50
# Colours that stay apart for all kinds of colour vision (Okabe and Ito).
_COLORS = ("#56b4e9", "#0072b2", "#009e73", "#e69f00", "#d55e00")
_MARKERS = "osD^v"


def plot_sizes(results: dict[str, Any], path: Path) -> None:
    """Draws all cases of `STEPS` steps; plain torch is dashed.

    Args:
        results: what `benchmarks.sizes` measured.
        path: the PNG to write.

    Raises:
        BackendMissingError: matplotlib is not installed.
        OSError: the figure cannot be written.
    """
    figure = import_extra("matplotlib.figure").Figure(figsize=(6.4, 4.6), layout="constrained")
    axes = figure.subplots()
    cases = sorted(
        (
            case
            for case in results["cases"]
            if case["steps"] == STEPS and case.get("model", "sam") == "sam"
        ),
        key=lambda case: case["batch_size"],
    )
    widths = sorted({case["hidden_size"] for case in cases})
    for place, width in enumerate(widths):
        some = [case for case in cases if case["hidden_size"] == width]
        batches = [case["batch_size"] for case in some]
        color = _COLORS[place % len(_COLORS)]
        style = {"color": color, "marker": _MARKERS[place % len(_MARKERS)], "markersize": 5}
        for name, line in (("sequence", "-"), ("plain", "--")):
            label = f"{width} units" if name == "sequence" else None
            heights = [_median(case["to_loop"][name]) for case in some]
            axes.plot(batches, heights, line, label=label, linewidth=1.6, **style)
    axes.axhline(1, color=FAINT, linewidth=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("batch", color=INK)
    axes.set_ylabel("time of a step, x nn.LSTMCell loop", color=INK)
    axes.set_yticks([0.2, 0.5, 1, 2, 5], labels=["0.2", "0.5", "1", "2", "5"])
    axes.minorticks_off()
    axes.grid(True, color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(
        f"SAM, whole sequence; dashed: plain torch. T = {STEPS}, {results['threads']} thread(s)",
        color=INK,
        fontsize=10,
    )
    axes.legend(frameon=False, fontsize=9)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=160)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, picture.getvalue())


def _median(spread: Any) -> float:
    return spread["median"] if isinstance(spread, dict) else spread.median
