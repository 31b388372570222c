"""The table of what was tried against the library, made of ``attack.json``."""

from typing import Any

from benchmarks.tables.markdown import Column, field, of_file, table

_TRIED = {
    "kills": "runs of one process and two, killed at chosen and random moments, then resumed",
    "damaged_folders": "run folders with a damaged file: `train --resume`, `eval`, `plot`",
    "command_lines": "command lines and recipes at random",
    "index_operations": "operations on each index against a dictionary",
    "state_operations": "operations on states of all models against a naive replay",
    "mutilated_states": "states with parts picked, repeated, permuted, mixed, out of range",
}
_COLUMNS = (
    field("subject", "name", "`{}`"),
    Column("what is tried", lambda entry: _TRIED[entry["name"]]),
    field("tries", "tries", "{:,}"),
    Column(
        "how they ended",
        lambda entry: ", ".join(f"{key} {count:,}" for key, count in entry["ended"].items()),
    ),
    field("seconds", "seconds", "{:.0f}"),
    Column(
        "processor, date",
        lambda entry: f"{entry['machine']['processor']}, {entry['date'][:10]}",
    ),
)


@of_file("attack.json", "tests.attack")
def attack_table(found: dict[str, Any]) -> str:
    """A row a subject: how many tries there were, and how they ended."""
    entries = [{"name": name} | found[name] for name in _TRIED if name in found]
    seeds = ", ".join(sorted({str(result["seed"]) for result in found.values()}))
    return f"{table(_COLUMNS, entries)}\n\n`python -m tests.attack`, seed {seeds}."
