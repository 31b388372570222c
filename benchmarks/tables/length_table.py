"""The table of what was trained on short sequences, or by a curriculum, and tried on long ones.

Its rows come from ``learning_length_TASK_NAME.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning copy_linked --name length_copy_linked --long 10000
"""

from pathlib import Path
from typing import Any

from benchmarks.tables.learning_table import at_levels, ranged, read_by_task, trained
from benchmarks.tables.markdown import Column, measured_each, missing, table, with_range


def length_table(results: Path) -> str:
    """A row per recipe: how it was trained, and the wrong targets at each level."""
    by_name = read_by_task(results, "length")
    found = [result for of_task in by_name.values() for result in of_task.values()]
    if not found:
        return missing("benchmarks.learning copy_linked --name length_copy_linked")
    return (
        f"{table(_COLUMNS, found)}\n\nMedian (range) over the seeds. Up to which level a recipe "
        f"trains stands in it. {measured_each(found, trained)}"
    )


def _reached(result: dict[str, Any]) -> str:
    """The levels that a curriculum came to, or how many seeds were solved."""
    levels = [run["level"] for run in result["runs"] if "level" in run]
    count = f"{len(result['runs'])} seeds"
    return f"{count}, level {with_range(levels, '{:,.0f}')}" if levels else count


_COLUMNS = (
    Column("`python -m benchmarks.learning ...`", trained),
    Column("model", lambda result: f"`{result['model']}`"),
    Column("reached", _reached),
    Column("updates", lambda result: ranged(result, "updates", "{:,.0f}")),
    Column("seconds", lambda result: ranged(result, "seconds", "{:.0f}")),
    Column("wrong, %", lambda result: at_levels(result, "evaluation", "long")),
    Column("memory off", lambda result: at_levels(result, "memory_off")),
    Column("paper", lambda result: result["paper"]),
)
