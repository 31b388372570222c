"""The table of recipes trained with several seeds, of `benchmarks.learning`.

The rows come from ``learning_NAME.json``. Files whose names begin with ``learning_index_``,
``learning_model_``, ``learning_length_``, ``learning_ngrams_``, ``learning_babi_``,
``learning_pairs_`` or ``learning_budget_`` have tables of their own.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.learning.papers import stated
from benchmarks.learning.slices import by_level
from benchmarks.tables.markdown import Column, measured_each, missing, table, with_range

_OWN_TABLES = ("index", "model", "length", "ngrams", "babi", "pairs", "budget")


def read_by_task(results: Path, kind: str) -> dict[str, dict[str, dict[str, Any]]]:
    """The results in ``learning_KIND_TASK_NAME.json``, by name, then by task.

    Raises:
        ValueError: a file is not named so.
    """
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(results.glob(f"learning_{kind}_*.json")):
        match = re.fullmatch(rf"learning_{kind}_([a-z0-9]+)_(\w+)\.json", path.name)
        if match is None:
            expected = f"learning_{kind}_TASK_{kind.upper()}.json"
            raise ValueError(f"{path}: expected a name {expected}, got {path.name}")
        task, name = match.groups()
        found.setdefault(name, {})[task] = json.loads(path.read_text())
    return found


def trained(result: dict[str, Any]) -> str:
    """Recipe and options."""
    return f"`{' '.join([result['recipe'], *result['overrides']])}`"


def solved(result: dict[str, Any]) -> str:
    """Of how many seeds the recipe's error was reached."""
    return f"{result['solved']} of {len(result['runs'])}"


def ranged(result: dict[str, Any], key: str, form: str) -> str:
    """Median and range of a number over the seeds."""
    return with_range([run[key] for run in result["runs"]], form)


def percent_wrong(entry: dict[str, Any]) -> float:
    """Of the targets of a result."""
    return 100 * (1 - entry["accuracy"])


def at_levels(
    result: dict[str, Any],
    *parts: str,
    value: Callable[[dict[str, Any]], float] = percent_wrong,
) -> str:
    """Median and range over the seeds at each level, of parts of each run that hold results."""
    found: dict[int, list[float]] = {}
    for run in result["runs"]:
        for entry in (entry for part in parts for entry in by_level(run.get(part, ()))):
            found.setdefault(entry["value"], []).append(value(entry))
    return ", ".join(f"{level:,}: {with_range(these, '{:.2f}')}" for level, these in found.items())


def learning_table(results: Path) -> str:
    """A row per learning_*.json: how many seeds were solved, after how long, and the error."""
    own = tuple(f"learning_{kind}_" for kind in _OWN_TABLES)
    paths = [p for p in sorted(results.glob("learning_*.json")) if not p.name.startswith(own)]
    if not paths:
        return missing("benchmarks.learning copy")
    found = [json.loads(path.read_text()) for path in paths]
    return (
        f"{table(_COLUMNS, found)}\n\nMedian (range) over the seeds; the error is the mean of the "
        f"last updates in training. {measured_each(found, trained)}"
    )


def _final_error(result: dict[str, Any]) -> str:
    errors = [run["final_error"] for run in result["runs"] if run["final_error"] is not None]
    return f"{with_range(errors, '{:.3g}')} {result['error_unit']}" if errors else ""


def _held_out(result: dict[str, Any]) -> str:
    """Median over the seeds of the wrong targets at each level, in percent."""
    wrong: dict[str, dict[int, list[float]]] = {}
    for run in result["runs"]:
        for entry in run["evaluation"]:
            of_level = wrong.setdefault(entry["name"], {}).setdefault(entry["value"], [])
            of_level.append(100 * (1 - entry["accuracy"]))
    return "; ".join(
        f"{name} " + ", ".join(f"{value}: {median(found):.2f} %" for value, found in levels.items())
        for name, levels in wrong.items()
    )


_COLUMNS = (
    Column("`python -m sam train ...`", trained),
    Column("solved", solved),
    Column("updates", lambda result: ranged(result, "updates", "{:,.0f}")),
    Column("time", lambda result: ranged(result, "seconds", "{:.0f}") + " s"),
    Column("final error", _final_error),
    Column("wrong targets, held out", _held_out),
    Column("paper", lambda result: result.get("paper") or stated(result["recipe"])),
)
