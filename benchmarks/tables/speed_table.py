"""Everything the sweep measured, in tables: for the docs, and for the terminal after a run."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_case import LOOP
from benchmarks.sweep.sweep_file import Sweep
from benchmarks.tables.markdown import markdown, measured_on
from benchmarks.tables.sweep_table import label, power, rounds_of


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
    rows = [["ms (x LSTMCell loop)", *(power(size) for size in sizes)]]
    for name, found in _lines(entries).items():
        of_size = {entry["memory_size"]: _cell(entry) for entry in found}
        rows.append([name, *(of_size.get(size, "") for size in sizes)])
    baselines = [entry for entry in record["entries"] if entry["memory_size"] is None]
    lines = {name: _cell(found[0]) for name, found in _lines(baselines).items()}
    return (
        f"{_setting(baselines[0])}{_joined(lines)}\n\n{markdown(rows)}\n\n"
        f"Median of {rounds_of(record['entries'])}, forward and backward.{_flat(record)}"
    )


def _by_length(record: dict[str, Any]) -> str:
    """Lines against lengths: milliseconds, and the ratio to the loop of that length."""
    entries = record["entries"]
    lengths = sorted({entry["steps"] for entry in entries})
    rows = [["ms (x LSTMCell loop)", "N", *(f"T = {steps}" for steps in lengths)]]
    for name, found in _lines(entries).items():
        size = found[0]["memory_size"]
        of_length = {entry["steps"]: _cell(entry) for entry in found}
        cells = [of_length.get(steps, "") for steps in lengths]
        rows.append([name, "" if size is None else power(size), *cells])
    return f"\n\n{markdown(rows)}\n\nMedian of {rounds_of(record['entries'])}, per step."


def _full(record: dict[str, Any]) -> str:
    """A row per index, way and size."""
    head = ["", "N", "forward ms", "backward ms", "both ms (range)", "x LSTMCell loop"]
    rows = [[*head, "recall@1, @K", "of its keys", "loaded in s", "MiB"]]
    found = [entry for entry in record["entries"] if entry["full"]]
    for entry in sorted(found, key=lambda e: (e["memory_size"], e["index"], e["path"])):
        seconds = entry["seconds_per_step"]
        total = {key: f"{1e3 * value:.3f}" for key, value in seconds["total"].items()}
        rows.append(
            [
                label(entry),
                power(entry["memory_size"]),
                *(f"{1e3 * seconds[phase]['median']:.3f}" for phase in ("forward", "backward")),
                f"{total['median']} ({total['low']} to {total['high']})",
                f"{entry['to_lstm']['median']:.2f}",
                f"{entry['recall_1']:.3f}, {entry['recall_k']:.3f}",
                _share(entry["recall_1_of_keys"]),
                f"{entry['load_seconds']:.1f}",
                f"{entry['state_bytes'] / 2**20:,.0f}",
            ]
        )
    stopped = "; ".join(
        f"`{one['line']}` before {power(one['memory_size'])}, {one['why']}"
        for one in record["stopped"]
    )
    return (
        f"{_setting(found[0])}: clustered words, all slots written.\n\n{markdown(rows)}\n\n"
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


def _lines(entries: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Entries by what they are of; the loop comes last."""
    found: dict[str, list[dict[str, Any]]] = {}
    for entry in sorted(entries, key=lambda entry: entry["model"] == LOOP):
        found.setdefault(label(entry), []).append(entry)
    return found


def _cell(entry: dict[str, Any]) -> str:
    total = f"{1e3 * entry['seconds_per_step']['total']['median']:.3f}"
    return f"{total} ({entry['to_lstm']['median']:.2f})" if "to_lstm" in entry else total


def _setting(entry: dict[str, Any]) -> str:
    return f"(batch {entry['batch_size']}, T = {entry['steps']})"


def _joined(lines: dict[str, str]) -> str:
    return "".join(f"; {name} {cell} ms" for name, cell in lines.items()) + "."


def _flat(record: dict[str, Any]) -> str:
    """The largest size to the smallest, line by line, where it was measured in the same rounds."""
    ratios = [
        f"{line} {found['ratio']['median']:.2f}" for line, found in record.get("flat", {}).items()
    ]
    return f" Largest N to smallest, round by round: {', '.join(ratios)}." if ratios else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
