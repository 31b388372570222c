"""The table of one model after another trained on the same tasks.

Its rows come from ``learning_model_TASK_MODEL.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning copy --seeds 0 1 2 --name model_copy_ntm --model.kind ntm

MODEL names the row: the model's name, or that and a setting.
"""

from pathlib import Path
from typing import Any

from benchmarks.tables.learning_table import ranged, read_by_task, solved, trained
from benchmarks.tables.markdown import field, keyed, measured_each, missing, table, with_range


def model_learning_table(results: Path) -> str:
    """A row per model; per task seeds solved, updates and seconds."""
    found = read_by_task(results, "model")
    if not found:
        return missing("benchmarks.learning copy --name model_copy_ntm --model.kind ntm")
    tasks = sorted({task for of_task in found.values() for task in of_task})
    columns = [
        field("model", "model", "`{}`"),
        field("settings", "settings"),
        field("parameters", "parameters", "{:,}"),
    ]
    for task in tasks:
        columns += keyed({task: f"{task}: solved"}, _solved)
        columns += keyed({task: "updates"}, lambda result: ranged(result, "updates", "{:,.0f}"))
        columns += keyed({task: "seconds"}, lambda result: ranged(result, "seconds", "{:,.0f}"))
    rows = []
    for of_task in found.values():
        one = next(iter(of_task.values()))
        head = {"model": one["model"], "settings": _settings(one), "parameters": one["parameters"]}
        rows.append(head | of_task)
    shared = "; ".join(f"{task}: `{_shared(found, task)}`" for task in tasks)
    every = [result for of_task in found.values() for result in of_task.values()]
    return (
        f"{table(columns, rows)}\n\nMedian (range) over the seeds of the updates and seconds until "
        f"solved, or until the run ended (then the error it ended with). The tasks: {shared}. "
        f"{measured_each(every, trained)}"
    )


def _pairs(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Overrides as (option, value or values)."""
    pairs: list[tuple[str, str]] = []
    for word in result["overrides"]:
        if word.startswith("--"):
            pairs.append((word, ""))
        else:
            option, value = pairs[-1]
            pairs[-1] = option, f"{value} {word}".strip()
    return pairs


def _is_task(option: str) -> bool:
    """Whether an option says what is to be learned, and not by what or for how long."""
    return not option.startswith("--model.") and option != "--train.max-updates"


def _settings(result: dict[str, Any]) -> str:
    """What the model was given beside the defaults."""
    own = [(o, v) for o, v in _pairs(result) if not _is_task(o) and o != "--model.kind"]
    return ", ".join(f"{o.removeprefix('--').removeprefix('model.')} {v}" for o, v in own)


def _shared(found: dict[str, dict[str, dict[str, Any]]], task: str) -> str:
    """Recipe and options of a task, which must not differ from model to model.

    Raises:
        ValueError: they do.
    """
    texts = {
        " ".join([result["recipe"]] + [f"{o} {v}" for o, v in _pairs(result) if _is_task(o)])
        for of_task in found.values()
        for name, result in of_task.items()
        if name == task
    }
    if len(texts) != 1:
        raise ValueError(f"{task}: expected the same task for every model, got {sorted(texts)}")
    return texts.pop()


def _solved(result: dict[str, Any]) -> str:
    text = solved(result)
    errors = [run["final_error"] for run in result["runs"] if not run["solved"]]
    return f"{text} (else {with_range(errors, '{:.2g}')} wrong)" if errors else text
