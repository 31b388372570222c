"""The table of bAbI's tasks by one model, beside the SAM paper's, of `benchmarks.learning`.

Its columns come from ``learning_babi_NAME.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning babi_joint --seeds 0 --name babi_sam
"""

from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.learning.babi_paper import APART, COLUMNS, TASKS
from benchmarks.tables.learning_table import trained
from benchmarks.tables.markdown import Column, measured_each, missing, read_all, table, with_range


def babi_table(results: Path) -> str:
    """A row per task, a column per model: percent of the test questions wrong."""
    found = read_all(results, "learning_babi_*.json")
    if not found:
        return missing("benchmarks.learning babi_joint --name babi_sam")
    columns = [Column("task", lambda row: row["task"])]
    for place, result in enumerate(found):
        columns += [
            Column(_title(result), _cell(place, "evaluation")),
            Column("memory off", _cell(place, "memory_off")),
        ]
    columns += [Column(title, _stated(title)) for title in COLUMNS]
    rows = [_row(found, task) for task in TASKS]
    return (
        f"{table(columns, [*rows, _mean(rows)])}\n\nPercent of the test questions wrong; median "
        f"(range) over the seeds. The mean leaves task {APART} out, whose training file is not "
        f"that of the paper. {' '.join(map(_told, found))} {measured_each(found, _title)}"
    )


def _title(result: dict[str, Any]) -> str:
    return f"{trained(result)}, `{result['model']}`"


def _told(result: dict[str, Any]) -> str:
    """How long a model was trained."""
    updates, seconds = (
        with_range([run[key] for run in result["runs"]], "{:,.0f}")
        for key in ("updates", "seconds")
    )
    return f"{_title(result)}: {len(result['runs'])} seeds, {updates} updates, {seconds} seconds."


def _row(found: list[dict[str, Any]], task: int) -> dict[str, Any]:
    """What every result, and every column of the paper, has of a task."""
    name, *stated = TASKS[task]
    row: dict[str, Any] = {"task": f"{task}: {name}", "number": task}
    for place, result in enumerate(found):
        for part in ("evaluation", "memory_off"):
            row[f"{place} {part}"] = [
                100 * (1 - entry["accuracy"])
                for run in result["runs"]
                for entry in run.get(part, ())
                if entry["name"] == "task" and entry["value"] == task
            ]
    return row | dict(zip(COLUMNS, stated, strict=True))


def _mean(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The mean over the tasks, seed by seed."""
    counted = [row for row in rows if row["number"] != APART]
    mean: dict[str, Any] = {"task": f"mean without task {APART}"}
    for key in rows[0].keys() - {"task", "number"}:
        if isinstance(rows[0][key], list):
            # A model of some tasks alone has a mean of these.
            known = [row[key] for row in counted if row[key]]
            mean[key] = [fmean(seeds) for seeds in zip(*known, strict=True)]
        else:
            mean[key] = fmean(row[key] for row in counted)
    return mean


def _cell(place: int, part: str) -> Any:
    def cell(row: dict[str, Any]) -> str:
        values = row[f"{place} {part}"]
        return with_range(values, "{:.1f}") if values else ""

    return cell


def _stated(title: str) -> Any:
    return lambda row: f"{row[title]:.1f}"
