"""The table of Omniglot: right by presentation, of `benchmarks.learning` with a recipe of it.

python -m benchmarks.learning omniglot --seeds 0 1 2
"""

from pathlib import Path
from typing import Any

from benchmarks.learning.papers import OMNIGLOT
from benchmarks.tables.learning_table import trained
from benchmarks.tables.markdown import Column, measured_each, missing, read_all, table, with_range

_SHOWN = ("1st", "2nd", "3rd", "5th", "10th")


def presentation_table(results: Path) -> str:
    """A row per recipe, one of the same with its memory off, and one of the paper's numbers."""
    found = [one for one in read_all(results, "learning_*.json") if one.get("task") == "omniglot"]
    if not found:
        return missing("benchmarks.learning omniglot")
    rows = [row for result in found for row in _rows(result)]
    rows.append({"what": "MANN (Santoro et al. 2016)", "right": OMNIGLOT})
    return (
        f"{table(_COLUMNS, rows)}\n\nPercent right, of episodes of characters not seen in "
        f"training; median (range) over the seeds. {measured_each(found, trained)}"
    )


def _rows(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Of each number of characters: the model's numbers, and those without its memory."""
    runs = result["runs"]
    rows = []
    for part, told in (("evaluation", ""), ("memory_off", ", memory off")):
        for place, first in enumerate(runs[0].get(part, ())):
            measured = [run[part][place]["measures"] for run in runs]
            rows.append(
                {
                    "what": f"{trained(result)}{told}",
                    "model": result["model"],
                    "characters": first["value"],
                    "seeds": len(runs),
                    "updates": with_range([run["updates"] for run in runs], "{:,.0f}"),
                    "seconds": with_range([run["seconds"] for run in runs], "{:.0f}"),
                    "right": {
                        name: with_range([one[f"{name} right %"] for one in measured], "{:.1f}")
                        for name in _SHOWN
                        if f"{name} right %" in measured[0]
                    },
                }
            )
    return rows


def _known(key: str) -> Column:
    return Column(key, lambda row: str(row.get(key, "")))


def _presented(name: str) -> Column:
    return Column(name, lambda row: str(row["right"].get(name, "")))


_COLUMNS = (
    Column("`python -m benchmarks.learning ...`", lambda row: row["what"]),
    _known("model"),
    _known("characters"),
    _known("seeds"),
    _known("updates"),
    _known("seconds"),
    *map(_presented, _SHOWN),
)
