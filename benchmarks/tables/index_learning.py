"""The README's table of a model trained with one index after another.

Its rows come from ``learning_index_TASK_INDEX.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning copy --seeds 0 --name index_copy_lsh --index lsh
"""

import json
import re
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tables.markdown import markdown, measured_on, missing

PREFIX = "learning_index_"
_NAME = re.compile(rf"{PREFIX}([a-z0-9]+)_(\w+)\.json")


def index_learning_table(results: Path) -> str:
    """A row per index; per task whether it was solved, updates, seconds, recall in training."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for path in sorted(results.glob(f"{PREFIX}*.json")):
        name = _NAME.fullmatch(path.name)
        if name is None:
            raise ValueError(f"{path}: expected a name {PREFIX}TASK_INDEX.json, got {path.name}")
        task, index = name.groups()
        found.setdefault(index, {})[task] = json.loads(path.read_text())
    if not found:
        return missing("benchmarks.learning copy --name index_copy_lsh --index lsh")
    tasks = {task: result for rows in found.values() for task, result in rows.items()}
    heads = [_head(tasks[task]) for task in tasks]
    rows = [["index", *heads]]
    for index, of_task in found.items():
        rows.append([f"`{index}`", *(_cell(of_task.get(task)) for task in tasks)])
    one = next(iter(tasks.values()))
    return (
        f"{markdown(rows)}\n\nSeeds solved, updates, time, mean recall@K of the index over the "
        f"logged updates.{_options(found)} {measured_on(one)}"
    )


def _options(found: dict[str, dict[str, dict[str, Any]]]) -> str:
    """A sentence about the options that indexes were given."""
    given = [
        f"`{index}` on {task}: `{options}`"
        for index, of_task in found.items()
        for task, result in of_task.items()
        if (options := " ".join(_pairs(result, prefix="--index.")))
    ]
    return f" With {'; '.join(given)}." if given else ""


def _pairs(result: dict[str, Any], *, prefix: str) -> list[str]:
    """Of the overrides, options with their values, those whose names begin so."""
    overrides = result["overrides"]
    pairs = zip(overrides[::2], overrides[1::2], strict=True)
    return [f"{option} {value}" for option, value in pairs if option.startswith(prefix)]


def _head(result: dict[str, Any]) -> str:
    pairs = _pairs(result, prefix="--")
    own = [pair for pair in pairs if not pair.startswith("--index")]
    return f"`{' '.join([result['recipe'], *own])}`"


def _cell(result: dict[str, Any] | None) -> str:
    if result is None:
        return ""
    runs = result["runs"]
    recalls = [run["index_recall"] for run in runs if run["index_recall"] is not None]
    recall = f"{median(recalls):.3f}" if recalls else "1"
    updates, seconds = (median(run[key] for run in runs) for key in ("updates", "seconds"))
    return f"{result['solved']} of {len(runs)}, {updates:,.0f}, {seconds:.0f} s, {recall}"
