"""The table of versions that the tests have run with, of ``python -m tests.matrix``."""

import json
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import markdown, missing

FILE = "matrix.json"


def read_rows(results: Path) -> list[dict[str, Any]]:
    """What is known of each combination; empty before the first."""
    path = results / FILE
    return json.loads(path.read_text())["rows"] if path.exists() else []


def matrix_table(results: Path) -> str:
    """A row per combination, ordered by its versions."""
    rows = read_rows(results)
    if not rows:
        return missing("tests.matrix")
    lines = [_line(row) for row in rows]
    lines.sort(key=lambda line: [_numbers(cell) for cell in line[:3]])
    table = markdown([["Python", "torch", "NumPy", "passed", "failed", "skipped"], *lines])
    content = json.loads((results / FILE).read_text())
    machine = content["machine"]
    note = " With * a part of the tests." if any(row["quick"] for row in rows) else ""
    return (
        f"{table}\n\n`python -m tests.matrix`, {machine['processor']}, {machine['cores']} cores, "
        f"{content['date']}.{note}"
    )


def _line(row: dict[str, Any]) -> list[str]:
    if "passed" not in row:
        return [*(version or "newest" for version in row["asked"]), row["trouble"], "", ""]
    versions = [row["versions"][name] for name in ("python", "torch", "numpy")]
    star = "*" if row["quick"] else ""
    counts = [f"{row[name]:,}" for name in ("passed", "failed", "skipped")]
    return [*versions, counts[0] + star, *counts[1:]]


def _numbers(version: str) -> list[int]:
    """To sort by: the numbers of a version, of none those above all."""
    numbers = [int(part) for part in version.partition("+")[0].split(".") if part.isdigit()]
    return numbers or [10**6]
