"""The table of versions that the tests have run with, of ``python -m tests.matrix``."""

import json
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import Column, field, missing, of_file, table

FILE = "matrix.json"


def read_rows(results: Path) -> list[dict[str, Any]]:
    """What is known of each combination; empty before the first."""
    path = results / FILE
    return json.loads(path.read_text())["rows"] if path.exists() else []


@of_file(FILE, "tests.matrix")
def matrix_table(found: dict[str, Any]) -> str:
    """A row per combination, ordered by its versions."""
    rows = found["rows"]
    if not rows:
        return missing("tests.matrix")
    rows = sorted(rows, key=lambda row: [_numbers(version) for version in _versions(row)])
    machine = found["machine"]
    note = " With * a part of the tests." if any(row["quick"] for row in rows) else ""
    return (
        f"{table(_COLUMNS, rows)}\n\n`python -m tests.matrix`, {machine['processor']}, "
        f"{machine['cores']} cores, {found['date']}.{note}"
    )


def _versions(row: dict[str, Any]) -> list[str]:
    """Of Python, torch and NumPy: those that ran, or those asked for."""
    if "passed" in row:
        return [row["versions"][name] for name in ("python", "torch", "numpy")]
    return [version or "newest" for version in row["asked"]]


def _passed(row: dict[str, Any]) -> str:
    if "passed" not in row:
        return row["trouble"]
    return f"{row['passed']:,}" + ("*" if row["quick"] else "")


_COLUMNS = (
    Column("Python", lambda row: _versions(row)[0]),
    Column("torch", lambda row: _versions(row)[1]),
    Column("NumPy", lambda row: _versions(row)[2]),
    Column("passed", _passed),
    field("failed", "failed", "{:,}"),
    field("skipped", "skipped", "{:,}"),
)


def _numbers(version: str) -> list[int]:
    """The numbers of a version, to sort by; a version without numbers comes last."""
    numbers = [int(part) for part in version.partition("+")[0].split(".") if part.isdigit()]
    return numbers or [10**6]
