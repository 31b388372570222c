"""The rows of a sweep's table: the numbers of each run, from the files in its folder."""

from collections.abc import Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from sam.train.lines import read_metrics
from sam.train.names import METRICS, SUMMARY
from sam.train.slice_errors import mean_error
from sam.train.summary import read_summary
from sam.train.sweep.costs import COSTS, read_cost
from sam.train.sweep.plan import Run, Sweep

Row = dict[str, Any]
_RECALLS = 20  # logged updates at the end of a run, whose recalls are averaged
_MIB = 2**20
# What a row has beside the keys of the grid; None where there is no such number.
_TRAINED = (
    *("solved", "error", "test_error", "updates", "seconds", "ms_per_update"),
    *("ms_per_step", "forward_ms", "backward_ms", "state_mib", "peak_mib"),
    *("index_recall", "searching"),
)
_COST = ("ms_per_step", "forward_ms", "backward_ms", "state_mib", "peak_mib", *_TRAINED[-2:])


def columns(sweep: Sweep) -> list[str]:
    """Names of the columns of a row, in order."""
    numbers = _COST if sweep.plan["cost_only"] else _TRAINED
    return ["run", *map(shown_key, sweep.keys), "seed", "status", *numbers, "reason"]


def shown_key(key: str) -> str:
    """A key of the grid as a title: without its section, where that is the model's."""
    return {"model.kind": "model", "index.kind": "index"}.get(key, key.removeprefix("model."))


def make_rows(sweep: Sweep, folder: Path, ended: Mapping[str, tuple[str, str]]) -> list[Row]:
    """A row for each run, from what its folder holds.

    Args:
        sweep: the runs.
        folder: of the sweep.
        ended: by name of a run that did not end well now, how, and the reason.

    Raises:
        ConfigError: a file of a finished run is damaged.
    """
    return [_row(sweep, run, folder, *ended.get(run.name, ("", ""))) for run in sweep.runs]


def _row(sweep: Sweep, run: Run, folder: Path, status: str, reason: str) -> Row:
    row: Row = dict.fromkeys(columns(sweep))
    row |= {"run": run.name, "seed": run.seed, "status": status or "not run", "reason": reason}
    for key in sweep.keys:
        row[shown_key(key)] = _number(run.cell.settings.get(key))
    if sweep.plan["cost_only"]:
        step = read_cost(cost_path(folder, run), run.config, full=sweep.plan["full"])
        if step is None:
            return row
        return row | {"status": "finished", "reason": ""} | _of_step(step)
    if status or not (folder / run.name / SUMMARY).exists():
        return row
    summary = read_summary(folder / run.name / SUMMARY)
    found = {
        "status": "finished",
        # Without a threshold nothing can be solved.
        "solved": None if run.config.train.stop_below is None else summary["solved"],
        "error": summary["final_error"],
        "test_error": mean_error(summary["evaluation"], run.config.task.kind),
        "updates": summary["updates"],
        "seconds": summary["seconds"],
        "ms_per_update": summary.get("ms_per_update"),
    }
    recall = _recall(folder / run.name, run)
    return row | found | _of_step(summary.get("step", {})) | recall


def cost_path(folder: Path, run: Run) -> Path:
    """Where the costs of a run's cell are."""
    return folder / COSTS / f"{run.name}.json"


def _of_step(step: Mapping[str, Any]) -> Row:
    row = {name: step.get(name) for name in ("forward_ms", "backward_ms", "index_recall")}
    row |= {"ms_per_step": step.get("ms"), "searching": step.get("searching")}
    for name in ("state", "peak"):
        size = step.get(f"{name}_bytes")
        row[f"{name}_mib"] = None if size is None else size / _MIB
    return row


def _recall(folder: Path, run: Run) -> Row:
    """Mean of the last updates that were looked at; of an exact index it need not be."""
    if run.config.index is None:
        return {}
    if run.config.index.kind == "exact":
        return {"index_recall": 1.0}
    found = [r["index_recall"] for r in read_metrics(folder / METRICS) if "index_recall" in r]
    return {"index_recall": fmean(found[-_RECALLS:])} if found else {}


def _number(text: str | None) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text) if text is not None else None
        except ValueError:
            continue
    return text


def describe_row(row: Row, unit: str) -> str:
    """How a run has ended, in words."""
    if row["status"] != "finished":
        return f"{row['status']}{': ' if row['reason'] else ''}{row['reason']}"
    if "solved" not in row:
        return f"{row['ms_per_step']:.3f} ms per step"
    how = {True: "solved after ", False: "not solved after ", None: ""}[row["solved"]]
    error = "" if row["error"] is None else f", {row['error']:.3g} {unit}"
    return f"{how}{row['updates']:,} updates{error}, {row['seconds']:.0f} s"
