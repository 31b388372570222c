"""Everything the sweep measured, in tables: for the docs, and for the terminal after a run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_file import Sweep
from benchmarks.tables.markdown import (
    Column,
    field,
    keyed,
    measured_on,
    power,
    spread_field,
    table,
)
from benchmarks.tables.sweep_entries import by_label, label, rounds_of, seconds

_NAME = field("ms (x LSTMCell loop)", "name")
_SIZE = Column("N", lambda e: "" if e["memory_size"] is None else power(e["memory_size"]))
_FULL_COLUMNS = (
    Column("", label),
    _SIZE,
    field("forward ms", "seconds_per_step.forward.median", "{:.3f}", scale=1e3),
    field("backward ms", "seconds_per_step.backward.median", "{:.3f}", scale=1e3),
    spread_field("both ms (range)", "seconds_per_step.total", "{:.3f}", scale=1e3),
    field("x LSTMCell loop", "to_lstm.median", "{:.2f}"),
    Column("recall@1, @K", lambda entry: f"{entry['recall_1']:.3f}, {entry['recall_k']:.3f}"),
    field("of its keys", "recall_1_of_keys", "{:.3f}"),
    field("loaded in s", "load_seconds", "{:.1f}"),
    field("MiB", "state_bytes", "{:,.0f}", scale=2**-20),
)


def speed_table(results: Path) -> str:
    """A table for each part."""
    sweep = Sweep(results)
    for name in _MADE:  # all of them have to be there
        sweep.part(name)
    return described(sweep)


def described(sweep: Sweep, names: Iterable[str] | None = None) -> str:
    """Tables of those parts that there are, or of some of them."""
    wanted = {*sweep.names} if names is None else {*sweep.names} & {*names}
    return "\n\n".join(
        f"**{title}** {made(sweep.part(name))} {measured_on(sweep.part(name))}"
        for name, (title, made) in _MADE.items()
        if name in wanted
    )


def _by_size(record: dict[str, Any]) -> str:
    """Lines against sizes: milliseconds, and the ratio to the loop."""
    entries = [entry for entry in record["entries"] if entry["memory_size"] is not None]
    sizes = sorted({entry["memory_size"] for entry in entries})
    columns = [_NAME, *keyed({size: power(size) for size in sizes}, _cell)]
    rows = _rows(entries, "memory_size")
    baselines = [entry for entry in record["entries"] if entry["memory_size"] is None]
    times = "".join(f"; {name} {_cell(of[0])} ms" for name, of in by_label(baselines).items())
    return (
        f"{_setting(baselines[0])}{times}.\n\n{table(columns, rows)}\n\n"
        f"Median of {rounds_of(record['entries'])}, forward and backward.{_flat(record)}"
    )


def _by_length(record: dict[str, Any]) -> str:
    """Lines against lengths: milliseconds, and the ratio to the loop of that length."""
    entries = record["entries"]
    lengths = sorted({entry["steps"] for entry in entries})
    columns = [_NAME, _SIZE, *keyed({steps: f"T = {steps}" for steps in lengths}, _cell)]
    rows = _rows(entries, "steps")
    return f"\n\n{table(columns, rows)}\n\nMedian of {rounds_of(record['entries'])}, per step."


def _full(record: dict[str, Any]) -> str:
    """A row per index, way and size."""
    found = [entry for entry in record["entries"] if entry["full"]]
    rows = sorted(found, key=lambda entry: (entry["memory_size"], entry["index"], entry["path"]))
    stopped = "; ".join(
        f"`{one['line']}` before {power(one['memory_size'])}, {one['why']}"
        for one in record["stopped"]
    )
    return (
        f"{_setting(found[0])}: clustered words, all slots written.\n\n"
        f"{table(_FULL_COLUMNS, rows)}\n\n"
        f"Median of {rounds_of(record['entries'])}; recall for noisy copies of words in memory, "
        "and recall@1 for the keys of the model, which was never trained."
        + (f" Not measured: {stopped}." if stopped else "")
    )


_MADE = {
    "fresh": ("Fresh memory", _by_size),
    "dense": ("All models, fresh memory", _by_size),
    "full": ("Full memory", _full),
    "lengths": ("Length of the sequences, fresh memory.", _by_length),
    "threads": ("Two threads, fresh memory.", _by_length),
}


def _rows(entries: Sequence[dict[str, Any]], key: str) -> list[dict[Any, Any]]:
    """A row per model: its name and size, and its entries by the value of a key."""
    return [
        {"name": name, "memory_size": found[0]["memory_size"]} | {e[key]: e for e in found}
        for name, found in by_label(entries).items()
    ]


def _cell(entry: dict[str, Any]) -> str:
    total = f"{1e3 * seconds(entry):.3f}"
    return f"{total} ({entry['to_lstm']['median']:.2f})" if "to_lstm" in entry else total


def _setting(entry: dict[str, Any]) -> str:
    return f"(batch {entry['batch_size']}, T = {entry['steps']})"


def _flat(record: dict[str, Any]) -> str:
    """The largest size to the smallest, line by line, where it was measured in the same rounds."""
    ratios = [
        f"{line} {found['ratio']['median']:.2f}" for line, found in record.get("flat", {}).items()
    ]
    return f" Largest N to smallest, round by round: {', '.join(ratios)}." if ratios else ""
