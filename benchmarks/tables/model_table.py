"""All models beside each other, as text for the docs."""

from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_case import LOOP
from benchmarks.sweep.sweep_file import Sweep
from benchmarks.tables.markdown import field, keyed, measured_on, table
from benchmarks.tables.sweep_entries import label, rounds_of, seconds


def model_table(results: Path) -> str:
    """A row per model: milliseconds and bytes per step at each size; and SDNC against DNC."""
    sweep = Sweep(results)
    record, pair = sweep.part("dense"), sweep.part("pair")
    entries = [*sweep.entries("dense")]
    sizes = sorted({entry["memory_size"] for entry in entries} - {None})
    columns = [field("model", "name"), *keyed({size: f"N = {size:,}" for size in sizes}, _cell)]
    rows: dict[str, dict[Any, Any]] = {}
    for entry in entries:
        if entry["memory_size"] is not None:
            row = rows.setdefault(label(entry), {"name": label(entry)})
            row[entry["memory_size"]] = entry
    loop = next(entry for entry in entries if entry["model"] == LOOP)
    megabytes = {name: size / 2**20 for name, size in pair["peak_bytes"].items()}
    return (
        f"{table(columns, rows.values())}\n\nMilliseconds per step, forward and backward, batch "
        f"{loop['batch_size']}, T = {loop['steps']}, fresh memory, median of "
        f"{rounds_of(entries)}; kB kept per step and sequence. An LSTMCell loop "
        f"takes {1e3 * seconds(loop):.3f} ms. Dense models go as far as time and memory allow. "
        f"SDNC against DNC "
        f"at N = {pair['memory_size']:,}, T = {pair['steps']}: {pair['faster']['median']:.0f} "
        f"times as fast ({pair['faster']['low']:.0f} to {pair['faster']['high']:.0f}; the paper "
        f"says {pair['paper']['faster']}); at batch 1 {megabytes['sdnc']:.2f} MiB to "
        f"{megabytes['dnc']:.0f}, {pair['smaller']:.0f} times less (the paper: "
        f"{pair['paper']['smaller']}). {measured_on(record)}"
    )


def _cell(entry: dict[str, Any]) -> str:
    return f"{1e3 * seconds(entry):.2f} ms, {entry['bytes_per_step'] / 1000:,.0f} kB"
