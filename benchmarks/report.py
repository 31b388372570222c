"""Puts the measured numbers into README and docs: ``python -m benchmarks.report``.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end -->`` and is made from
``benchmarks/results/*.json``; no number in it is typed.
"""

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.harness import RESULTS
from benchmarks.long_sequence import long_sequence_table
from benchmarks.parameters import parameter_table
from benchmarks.step.__main__ import step_table
from benchmarks.tables.attack_table import attack_table
from benchmarks.tables.index_learning import PREFIX as OF_INDEXES
from benchmarks.tables.index_learning import index_learning_table
from benchmarks.tables.index_table import index_table
from benchmarks.tables.markdown import markdown, measured_on, missing, with_range
from benchmarks.tables.matrix_table import matrix_table
from benchmarks.tables.model_learning import PREFIX as OF_MODELS
from benchmarks.tables.model_learning import model_learning_table
from benchmarks.tables.model_table import model_table
from benchmarks.tables.speed_table import speed_table
from benchmarks.tables.sweep_table import time_table
from sam.train.run_files import write_atomic

_ROOT = Path(__file__).parents[1]
PAGES = (_ROOT / "README.md", *sorted((_ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
# What the papers state in numbers, by recipe.
PAPER = {
    "copy": "SAM: curve only (fig. 2)",
    "key_value_recall": "SAM: curve only (fig. 2)",
    "sort": "SAM: curve only (fig. 2)",
    "recall": "NTM: near 0 by about 30,000 sequences (NTM paper, 4.3)",
    "babi": "SAM, trained on all 20, task 1: best run 0.0 %, mean 4.7 % (tables 1, 2)",
}


def fill(text: str, results: Path = RESULTS) -> str:
    """Returns the text of a page with all its tables made anew.

    Args:
        text: of the README, or of a page in ``docs``.
        results: folder of the JSON files. A table without a file says how to measure it.

    Raises:
        ValueError: the text asks for an unknown table, or has none.
    """

    def table(found: re.Match[str]) -> str:
        begin, name, end = found.groups()
        if name not in TABLES:
            raise ValueError(f"table: expected one of {', '.join(TABLES)}, got {name!r}")
        return f"{begin}{TABLES[name](results)}\n{end}"

    filled, count = _BLOCK.subn(table, text)
    if count == 0:
        raise ValueError("page: expected <!-- table: NAME --> ... <!-- end -->, got none")
    return filled


def learning_table(results: Path) -> str:
    """A row per learning_*.json: how many seeds were solved, after how long, and the error."""
    found = _learning(results)
    if not found:
        return missing("benchmarks.learning copy")
    head = ["`python -m sam train ...`", "solved", "updates", "time", "final error"]
    rows = [[*head, "wrong targets, held out", "paper"]]
    for result in found:
        runs = result["runs"]
        errors = [run["final_error"] for run in runs if run["final_error"] is not None]
        rows.append(
            [
                f"`{' '.join([result['recipe'], *result['overrides']])}`",
                f"{result['solved']} of {len(runs)}",
                with_range([run["updates"] for run in runs], "{:,.0f}"),
                with_range([run["seconds"] for run in runs], "{:.0f}") + " s",
                f"{with_range(errors, '{:.3g}')} {result['error_unit']}" if errors else "",
                _held_out(runs),
                PAPER.get(result["recipe"], ""),
            ]
        )
    return (
        f"{markdown(rows)}\n\nMedian (range) over the seeds; the error is the mean of the last "
        f"updates in training. {measured_on(found[0])}"
    )


def _held_out(runs: list[dict[str, Any]]) -> str:
    """Median over the seeds of the wrong targets at each level, in percent."""
    wrong: dict[tuple[str, int], list[float]] = {}
    for run in runs:
        for entry in run["evaluation"]:
            key = entry["name"], entry["value"]
            wrong.setdefault(key, []).append(100 * (1 - entry["accuracy"]))
    names = dict.fromkeys(name for name, _ in wrong)
    return "; ".join(
        f"{name} "
        + ", ".join(f"{v}: {median(w):.2f} %" for (n, v), w in wrong.items() if n == name)
        for name in names
    )


TABLES: dict[str, Callable[[Path], str]] = {
    "time": time_table,
    "speed": speed_table,
    "step": step_table,
    "long": long_sequence_table,
    "learning": learning_table,
    "index": index_table,
    "index_learning": index_learning_table,
    "models": model_table,
    "model_learning": model_learning_table,
    "parameters": parameter_table,
    "attack": attack_table,
    "matrix": matrix_table,
}


def _learning(results: Path) -> list[dict[str, Any]]:
    paths = sorted(results.glob("learning_*.json"))
    others = (OF_INDEXES, OF_MODELS)  # they have tables of their own
    return [json.loads(p.read_text()) for p in paths if not p.name.startswith(others)]


def main() -> int:
    """Rewrites each page in place, whole or not at all; 1 where a page cannot be filled."""
    failed = 0
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        if "<!-- table: " not in text:
            continue
        try:
            filled = fill(text)
        except ValueError as error:
            failed = 1
            print(f"{page.name}: left as it is: {error}", file=sys.stderr)
            continue
        write_atomic(page, filled)
        print(f"{page.name}: {'unchanged' if filled == text else 'tables rewritten'}")
    return failed


if __name__ == "__main__":
    sys.exit(main())
