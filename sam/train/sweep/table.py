"""The table of a sweep: a row for each run, as CSV and JSON; a row for each cell, as Markdown."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from sam.train.run_files import write_atomic
from sam.train.summary import error_unit, sizes
from sam.train.sweep.plan import Sweep
from sam.train.sweep.rows import Row, columns, shown_key

CSV, JSON, MARKDOWN = "table.csv", "table.json", "table.md"


def write_tables(sweep: Sweep, folder: Path, rows: Sequence[Row]) -> list[Path]:
    """Writes the table in its three forms, each whole or not at all."""
    unit = error_unit(sweep.runs[0].config.task.kind)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns(sweep), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = {
        "command": sweep.plan["command"],
        "error_unit": unit,
        "sizes": sizes(sweep.runs[0].config),
        "warnings": sweep.warnings,
        "rows": rows,
    }
    lines = summarised(sweep, rows)
    texts = {
        CSV: stream.getvalue(),
        JSON: json.dumps(content, indent=2) + "\n",
        MARKDOWN: f"`{sweep.plan['command']}`\n\n{_markdown(lines)}{_notes(sweep, rows, unit)}",
    }
    for name, text in texts.items():
        write_atomic(folder / name, text)
    return [folder / name for name in texts]


def summarised(sweep: Sweep, rows: Sequence[Row]) -> list[list[str]]:
    """A title, and a line for each cell: the median over its seeds, and the range if there is one.

    Columns in which no cell has a number are left out.
    """
    keys = [shown_key(key) for key in sweep.keys]
    cells: dict[str, list[Row]] = {}
    for run, row in zip(sweep.runs, rows, strict=True):
        cells.setdefault(run.cell.name, []).append(row)
    lines = [[*keys, *(title for title, _, _ in _COLUMNS)]]
    for of_cell in cells.values():
        done = [row for row in of_cell if row["status"] == "finished"]
        line = ["" if of_cell[0][key] is None else _text(of_cell[0][key]) for key in keys]
        for _, name, form in _COLUMNS:
            if name == "runs":
                line.append(f"{len(done)} of {len(of_cell)}")
            elif name == "solved":
                known = [row["solved"] for row in done if row.get("solved") is not None]
                line.append(f"{sum(known)} of {len(known)}" if known else "")
            else:
                values = [row[name] for row in done if row.get(name) is not None]
                line.append(_spread(values, form))
        lines.append(line)
    trained = not sweep.plan["cost_only"]
    kept = [
        i
        for i in range(len(lines[0]))
        if any(line[i] for line in lines[1:]) and (trained or lines[0][i] != "solved")
    ]
    return [[line[i] for i in kept] for line in lines]


def _spread(values: Sequence[Any], form: Callable[[Any], str]) -> str:
    if not values:
        return ""
    if isinstance(values[0], str):
        return ", ".join(sorted({*values}))
    middle, low, high = (form(value) for value in (median(values), min(values), max(values)))
    return middle if low == high else f"{middle} ({low} to {high})"


def _text(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _short(value: float) -> str:
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def _fixed(value: float) -> str:
    return f"{value:.3f}"


_COLUMNS: tuple[tuple[str, str, Callable[[Any], str]], ...] = (
    ("runs", "runs", str),
    ("solved", "solved", str),
    ("error", "error", _short),
    ("test error", "test_error", _short),
    ("updates", "updates", _short),
    ("ms per update", "ms_per_update", _short),
    ("ms per step", "ms_per_step", _fixed),
    ("state MiB", "state_mib", _fixed),
    ("peak MiB", "peak_mib", _short),
    ("index recall", "index_recall", _fixed),
    ("searching", "searching", str),
)


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    title, *others = (f"| {' | '.join(line)} |" for line in lines)
    return "\n".join([title, f"|{'---|' * len(lines[0])}", *others]) + "\n"


def _notes(sweep: Sweep, rows: Sequence[Row], unit: str) -> str:
    notes = [] if sweep.plan["cost_only"] else [f"Errors are {unit}."]
    notes.append("Median over the seeds, and the range.")
    text = "\n" + " ".join(notes) + "\n"
    listed = [f"- {line}" for line in sweep.warnings]
    listed += [f"- {r['run']}: {r['status']}, {r['reason']}" for r in rows if r["reason"]]
    return text + ("\n" + "\n".join(listed) + "\n" if listed else "")
