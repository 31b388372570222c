"""The table of what was tried against the library, made of ``attack.json``."""

import json
from pathlib import Path

from benchmarks.tables.markdown import markdown, missing

_WHAT = {
    "kills": "runs of one process and two, killed at chosen and random moments, then resumed",
    "damaged_folders": "run folders with a damaged file: `train --resume`, `eval`, `plot`",
    "command_lines": "command lines and recipes at random",
    "index_operations": "operations on each index against a dictionary",
    "state_operations": "operations on states of all models against a naive replay",
    "mutilated_states": "states with parts picked, repeated, permuted, mixed, out of range",
}


def attack_table(results: Path) -> str:
    """A row a subject: how many tries there were, and how they ended."""
    path = results / "attack.json"
    if not path.exists():
        return missing("tests.attack")
    found = json.loads(path.read_text())
    rows = [["subject", "what is tried", "tries", "how they ended", "seconds", "processor, date"]]
    for name, what in _WHAT.items():
        if name not in found:
            continue
        result = found[name]
        ended = ", ".join(f"{key} {count:,}" for key, count in result["ended"].items())
        rows.append(
            [
                f"`{name}`",
                what,
                f"{result['tries']:,}",
                ended,
                f"{result['seconds']:.0f}",
                f"{result['machine']['processor']}, {result['date'][:10]}",
            ]
        )
    return f"{markdown(rows)}\n\n`python -m tests.attack`, seed {_seeds(found)}."


def _seeds(found: dict) -> str:
    return ", ".join(sorted({str(result["seed"]) for result in found.values()}))
