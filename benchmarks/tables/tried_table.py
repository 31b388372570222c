"""The table of what was tried on the way to a recipe, of `benchmarks.learning.tried`."""

from pathlib import Path
from typing import Any

from benchmarks.learning.slices import by_level
from benchmarks.tables.learning_table import percent_wrong
from benchmarks.tables.markdown import Column, field, measured_each, missing, read_all, table


def tried_table(results: Path) -> str:
    """A row per run of all ``tried_NAME.json``: what it was, and what it got wrong."""
    found = read_all(results, "tried_*.json")
    if not found:
        return missing("benchmarks.learning.tried copy runs/copy-1 runs/copy-2")
    rows = [{"task": one["task"], **run} for one in found for run in one["tried"]]
    return (
        f"{table(_COLUMNS, rows)}\n\nOne run a row; of each task the first row is what the others "
        f"differ from. {measured_each(found, lambda one: one['task'])}"
    )


def _settings(run: dict[str, Any]) -> str:
    short = (f"{key.partition('.')[2]} {value}" for key, value in run["settings"].items())
    return ", ".join(short) or "as the text says"


def _wrong(run: dict[str, Any]) -> str:
    return ", ".join(
        f"{entry['value']:,}: {percent_wrong(entry):.2f}" for entry in by_level(run["evaluation"])
    )


_COLUMNS = (
    field("task", "task"),
    field("model", "model", "`{}`"),
    Column("settings", _settings),
    field("seed", "seed"),
    field("updates", "updates", "{:,}"),
    field("seconds", "seconds", "{:.0f}"),
    Column("wrong, %", _wrong),
)
