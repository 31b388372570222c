"""The README's table of a model trained with one index after another.

Its rows come from ``learning_index_TASK_INDEX.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning copy --seeds 0 --name index_copy_lsh --index lsh
"""

from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.tables.learning_table import read_by_task, solved, trained
from benchmarks.tables.markdown import field, keyed, measured_each, missing, table


def index_learning_table(results: Path) -> str:
    """A row per index; per task whether it was solved, updates, seconds, recall in training."""
    found = read_by_task(results, "index")
    if not found:
        return missing("benchmarks.learning copy --name index_copy_lsh --index lsh")
    tasks = {task: result for of_task in found.values() for task, result in of_task.items()}
    titles = {task: _title(result) for task, result in tasks.items()}
    columns = [field("index", "index", "`{}`"), *keyed(titles, _cell)]
    rows = [{"index": index, **of_task} for index, of_task in found.items()]
    every = [result for of_task in found.values() for result in of_task.values()]
    return (
        f"{table(columns, rows)}\n\nSeeds solved, updates, time, mean recall@K of the index over "
        f"the logged updates.{_options(found)} {measured_each(every, trained)}"
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
    """The overrides whose options begin with a prefix, each with its value."""
    overrides = result["overrides"]
    pairs = zip(overrides[::2], overrides[1::2], strict=True)
    return [f"{option} {value}" for option, value in pairs if option.startswith(prefix)]


def _title(result: dict[str, Any]) -> str:
    pairs = _pairs(result, prefix="--")
    own = [pair for pair in pairs if not pair.startswith("--index")]
    return f"`{' '.join([result['recipe'], *own])}`"


def _cell(result: dict[str, Any]) -> str:
    runs = result["runs"]
    recalls = [run["index_recall"] for run in runs if run["index_recall"] is not None]
    recall = f"{median(recalls):.3f}" if recalls else "1"
    updates, seconds = (median(run[key] for run in runs) for key in ("updates", "seconds"))
    return f"{solved(result)}, {updates:,.0f}, {seconds:.0f} s, {recall}"
