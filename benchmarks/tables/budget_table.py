"""The table of models beside each other after the same number of updates of each task.

Its rows come from ``learning_budget_TASK_MODEL.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning repeat_copy_beside --seeds 0 --name budget_repeatcopy_ntm \\
        --model.kind ntm --model.memory-size 128
"""

from pathlib import Path
from typing import Any

from benchmarks.tables.learning_table import at_levels, percent_wrong, ranged, read_by_task
from benchmarks.tables.markdown import field, keyed, measured_each, missing, table

_ABOVE = "above optimal %"  # of N-grams, which are told by it


def budget_table(results: Path) -> str:
    """A row per model; per task what is wrong at the levels trained on, and the seconds."""
    found = read_by_task(results, "budget")
    if not found:
        return missing("benchmarks.learning ngrams_beside --name budget_ngrams_ntm")
    tasks = sorted({task for of_task in found.values() for task in of_task})
    every = [result for of_task in found.values() for result in of_task.values()]
    columns = [field("model", "model", "`{}`")]
    for task in tasks:
        columns += keyed({task: task}, _wrong)
        columns += keyed({task: "seconds"}, lambda result: ranged(result, "seconds", "{:,.0f}"))
    rows = [
        {"model": next(iter(of_task.values()))["model"]} | of_task for of_task in found.values()
    ]
    return (
        f"{table(columns, rows)}\n\nPercent of the targets wrong, by levels that were "
        "trained on; of N-grams percent of bits above the optimal predictor. Median (range) over "
        f"the seeds. {_updates(every)}. {measured_each(every, _named)}"
    )


def _wrong(result: dict[str, Any]) -> str:
    def wrong(entry: dict[str, Any]) -> float:
        above = entry.get("measures", {}).get(_ABOVE)
        return percent_wrong(entry) if above is None else above

    return at_levels(result, "evaluation", value=wrong)


def _named(result: dict[str, Any]) -> str:
    return f"{result['task']}, `{result['model']}`"


def _updates(results: list[dict[str, Any]]) -> str:
    """Of each task the updates, which must not differ from model to model.

    Raises:
        ValueError: they do.
    """
    counts: dict[str, set[int]] = {}
    for result in results:
        counts.setdefault(result["task"], set()).update(run["updates"] for run in result["runs"])
    for task, of_task in counts.items():
        if len(of_task) != 1:
            raise ValueError(f"{task}: expected as many updates of each, got {sorted(of_task)}")
    return "; ".join(
        f"{task}: {min(of_task):,} updates" for task, of_task in sorted(counts.items())
    )
