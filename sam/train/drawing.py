"""What all figures share: colours, axes that show zeros, and files that are whole or not there.

Matplotlib is imported here, without a display, when a figure is made.
"""

import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sam.train.extras import import_extra
from sam.train.run_files import write_atomic

INK, FAINT, ACCENT, GRID, SHADE = "#22303c", "#9fb3c8", "#c2410c", "#e3e8ee", "#fdf3dc"
# Colours that stay apart for all kinds of colour vision (Okabe and Ito); shapes help as well.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7b8794", "#8c6d1f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<")
LINES = ("-", "--", "-.", ":")
_LETTER = 0.075  # inches that a letter of a legend takes
_BESIDE_LABEL = 9  # letters' room that its line and the gap to the next one take


def new_figure(width: float, height: float) -> Any:
    """An empty figure, in inches.

    Raises:
        BackendMissingError: matplotlib is not installed.
    """
    # A Figure without pyplot has no window and leaves no global state behind.
    return import_extra("matplotlib.figure").Figure(figsize=(width, height), layout="constrained")


def save_figure(figure: Any, path: str | Path, data: dict[str, Any]) -> None:
    """Writes a PNG and, under the same name with the suffix ``.json``, what it shows.

    Raises:
        OSError: it cannot be written.
    """
    path = Path(path)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=140)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path.with_suffix(".json"), json.dumps(data) + "\n")
    write_atomic(path, picture.getvalue())


def plain_axes(axes: Any) -> None:
    """A light grid behind the data, no box around them."""
    axes.grid(True, which="major", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, labelsize=9)


def scale_with_zero(axes: Any, values: Iterable[float]) -> None:
    """A vertical axis for values from 0 on: logarithmic, and linear below the least above 0.

    So a zero has its place, at the foot of the axis. Where nothing is above 0 it stays linear.
    """
    values = [*values]
    positive = [value for value in values if value > 0]
    if not positive:
        return
    low, high = min(positive), max(positive)
    if len(positive) == len(values):
        axes.set_yscale("log")
        axes.set_ylim(low / 1.5, high * 1.5)
        label_decades(axes)
        return
    axes.set_yscale("symlog", linthresh=low, linscale=0.4)
    axes.set_ylim(-0.25 * low, high * 1.5)
    axes.axhline(0, color=INK, linewidth=0.6)


def label_decades(axes: Any) -> None:
    """Plain numbers on a logarithmic axis; within a decade or two also those in between."""
    ticker = import_extra("matplotlib.ticker")
    low, high = axes.get_ylim()
    if high / low < 200:
        between = (1.0, 2.0, 5.0) if high / low > 8 else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0)
        axes.yaxis.set_major_locator(ticker.LogLocator(subs=between))
        axes.yaxis.set_minor_locator(ticker.NullLocator())
    axes.yaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))


def legend_below(figure: Any, *panels: Any, columns: int = 4) -> None:
    """One legend for all panels, each label once, below the figure and off the curves.

    It has fewer columns where the labels are too long for the figure's width.
    """
    of_label: dict[str, Any] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            of_label.setdefault(label, handle)
    if of_label:
        room = figure.get_figwidth() / _LETTER
        fitting = int(room / (max(map(len, of_label)) + _BESIDE_LABEL))
        figure.legend(
            of_label.values(),
            of_label.keys(),
            loc="outside lower center",
            ncols=max(1, min(columns, len(of_label), fitting)),
            fontsize=9,
            frameon=False,
            handlelength=2.6,
        )
