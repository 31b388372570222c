"""The table of models beside each other on MQAR: percent right by the number of pairs.

Its rows come from ``learning_pairs_mqar_MODEL_RATE.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning mqar_beside --seeds 0 1 --name pairs_mqar_lstm_1 \\
        --model.kind lstm --optimizer.lr 1e-3

MODEL and RATE order the rows; what they show is read from the results.
"""

from pathlib import Path
from typing import Any

from benchmarks.tables.learning_table import ranged, read_by_task, trained
from benchmarks.tables.markdown import Column, field, measured_each, missing, table, with_range


def pairs_table(results: Path) -> str:
    """A row per model and rate: seeds, updates, seconds, the level reached, and what was right."""
    by_name = read_by_task(results, "pairs")
    found = [result for of_task in by_name.values() for result in of_task.values()]
    if not found:
        return missing("benchmarks.learning mqar_beside --name pairs_mqar_sam_3")
    levels = sorted({entry["value"] for result in found for entry in _entries(result)})
    columns = [*_COLUMNS, *(_at(level) for level in levels)]
    return (
        f"{table(columns, found)}\n\nPercent of the queries right, by the number of pairs; median "
        f"(range) over the seeds. {measured_each(found, trained)}"
    )


def _entries(result: dict[str, Any]) -> list[dict[str, Any]]:
    return [entry for run in result["runs"] for entry in run["evaluation"]]


def _at(level: int) -> Column:
    def right(result: dict[str, Any]) -> str:
        found = [100 * one["accuracy"] for one in _entries(result) if one["value"] == level]
        return with_range(found, "{:.2f}") if found else ""

    return Column(f"{level:,}", right)


def _rate(result: dict[str, Any]) -> str:
    """The learning rate among the options; that of the recipe without one."""
    words = result["overrides"]
    return words[words.index("--optimizer.lr") + 1] if "--optimizer.lr" in words else "recipe's"


def _level(result: dict[str, Any]) -> str:
    return with_range([run["level"] for run in result["runs"] if "level" in run], "{:,.0f}")


_COLUMNS = (
    field("model", "model", "`{}`"),
    Column("rate", _rate),
    field("parameters", "parameters", "{:,}"),
    Column("seeds", lambda result: str(len(result["runs"]))),
    Column("updates", lambda result: ranged(result, "updates", "{:,.0f}")),
    Column("seconds", lambda result: ranged(result, "seconds", "{:.0f}")),
    Column("level", _level),
)
