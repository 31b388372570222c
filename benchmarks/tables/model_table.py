"""All models beside each other, as text for the docs."""

from pathlib import Path
from typing import Any

from benchmarks.sweep.sweep_case import LOOP
from benchmarks.sweep.sweep_file import Sweep
from benchmarks.tables.markdown import markdown, measured_on
from benchmarks.tables.sweep_table import label, rounds_of


def model_table(results: Path) -> str:
    """A row per model: milliseconds and bytes per step at each size; and SDNC against DNC."""
    sweep = Sweep(results)
    record, pair = sweep.part("dense"), sweep.part("pair")
    entries = [*sweep.entries("dense")]
    sizes = sorted({entry["memory_size"] for entry in entries} - {None})
    rows = [["model", *(f"N = {size:,}" for size in sizes)]]
    lines: dict[str, dict[int, str]] = {}
    for entry in entries:
        if entry["memory_size"] is not None:
            lines.setdefault(label(entry), {})[entry["memory_size"]] = _cell(entry)
    rows += [[name, *(cells.get(size, "") for size in sizes)] for name, cells in lines.items()]
    loops = [entry for entry in entries if entry["model"] == LOOP]
    loop = 1e3 * loops[0]["seconds_per_step"]["total"]["median"]
    megabytes = {name: size / 2**20 for name, size in pair["peak_bytes"].items()}
    return (
        f"{markdown(rows)}\n\nMilliseconds per step, forward and backward, batch "
        f"{loops[0]['batch_size']}, T = {loops[0]['steps']}, fresh memory, median of "
        f"{rounds_of(entries)}; kB kept per step and sequence. An LSTMCell loop "
        f"takes {loop:.3f} ms. Dense models go as far as time and memory allow. SDNC against DNC "
        f"at N = {pair['memory_size']:,}, T = {pair['steps']}: {pair['faster']['median']:.0f} "
        f"times as fast ({pair['faster']['low']:.0f} to {pair['faster']['high']:.0f}; the paper "
        f"says {pair['paper']['faster']}); at batch 1 {megabytes['sdnc']:.2f} MiB to "
        f"{megabytes['dnc']:.0f}, {pair['smaller']:.0f} times less (the paper: "
        f"{pair['paper']['smaller']}). {measured_on(record)}"
    )


def _cell(entry: dict[str, Any]) -> str:
    total = entry["seconds_per_step"]["total"]["median"]
    return f"{1e3 * total:.2f} ms, {entry['bytes_per_step'] / 1000:,.0f} kB"
