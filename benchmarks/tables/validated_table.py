"""The table of bAbI on the way: the errors on validation stories, of benchmarks.learning.validated.

python -m benchmarks.learning.validated babi runs/learning/babi_stage_3/seed-0
"""

from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.learning.babi_paper import APART, TASKS
from benchmarks.tables.markdown import Column, field, measured_each, missing, read_all, table


def validated_table(results: Path) -> str:
    """A row per run and evaluation of all ``validated_NAME.json``: the mean, and each task."""
    found = read_all(results, "validated_*.json")
    if not found:
        return missing("benchmarks.learning.validated babi runs/RUN")
    rows = [
        {"run": run["run"], **one, "wrong": _by_task(one["wrong"])}
        for result in found
        for run in result["runs"]
        for one in run["evaluations"]
    ]
    return (
        f"{table(_COLUMNS, rows)}\n\nPercent of the questions of validation stories wrong, of the "
        f"tasks that a run has; the mean leaves task {APART} out. {measured_each(found, _runs)}"
    )


def _runs(result: dict[str, Any]) -> str:
    """Those of a file, as the rows name them."""
    return ", ".join(dict.fromkeys(run["run"] for run in result["runs"]))


def _by_task(wrong: dict[str, float]) -> dict[int, float]:
    """Percent by the number of the task."""
    return {int(name.removeprefix("task ")): 100 * share for name, share in wrong.items()}


def _mean(row: dict[str, Any]) -> str:
    return f"{fmean(share for task, share in row['wrong'].items() if task != APART):.1f}"


def _of_task(task: int) -> Column:
    def cell(row: dict[str, Any]) -> str:
        return f"{row['wrong'][task]:.0f}" if task in row["wrong"] else ""

    return Column(str(task), cell)


_COLUMNS = (
    field("run", "run", "`{}`"),
    field("stories", "sequences", "{:,}"),
    Column("mean", _mean),
    *map(_of_task, TASKS),
)
