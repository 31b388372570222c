"""The table of dynamic N-grams beside their optimal predictor.

Its rows come from ``learning_ngrams_MODEL.json``, as `benchmarks.learning` writes them:

    python -m benchmarks.learning ngrams --seeds 0 1 2 --name ngrams_sam
"""

from pathlib import Path
from typing import Any

from benchmarks.tables.learning_table import ranged, trained
from benchmarks.tables.markdown import Column, measured_each, missing, read_all, table, with_range

_ABOVE, _OPTIMAL = "above optimal %", "optimal bits"


def ngrams_table(results: Path) -> str:
    """A row per model: bits of a sequence, and how many percent above the optimal predictor's."""
    found = read_all(results, "learning_ngrams_*")
    if not found:
        return missing("benchmarks.learning ngrams --name ngrams_sam")
    return (
        f"{table(_COLUMNS, found)}\n\nOf sequences that were not trained on; median (range) over "
        f"the seeds. {measured_each(found, trained)}"
    )


def _of_all(result: dict[str, Any], part: str, key: str, form: str) -> str:
    """A number of the first slice of an evaluation, over the seeds."""
    entries = [run[part][0] for run in result["runs"] if run.get(part)]
    values = [entry["loss"] if key == "loss" else entry["measures"][key] for entry in entries]
    return with_range(values, form) if values else ""


_COLUMNS = (
    Column(
        "`python -m benchmarks.learning ...`",
        trained,
    ),
    Column("model", lambda result: f"`{result['model']}`"),
    Column("seeds", lambda result: str(len(result["runs"]))),
    Column("updates", lambda result: ranged(result, "updates", "{:,.0f}")),
    Column("seconds", lambda result: ranged(result, "seconds", "{:.0f}")),
    Column("bits", lambda result: _of_all(result, "evaluation", "loss", "{:.1f}")),
    Column("optimal", lambda result: _of_all(result, "evaluation", _OPTIMAL, "{:.1f}")),
    Column("above optimal, %", lambda result: _of_all(result, "evaluation", _ABOVE, "{:.2f}")),
    Column("memory off, %", lambda result: _of_all(result, "memory_off", _ABOVE, "{:.1f}")),
)
