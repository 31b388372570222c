"""What `benchmarks.model_sweep` found, as text: for the terminal, and for the docs."""

import json
from pathlib import Path
from typing import Any

from benchmarks.markdown import markdown, measured_on, missing

FILE = "model_sweep.json"


def model_table(results: Path) -> str:
    """A row per model: milliseconds and bytes per step at each size; and SDNC against DNC."""
    path = results / FILE
    if not path.exists():
        return missing("benchmarks.memory_sweep")
    return described(json.loads(path.read_text()))


def described(sweep: dict[str, Any]) -> str:
    """The table of results as they stand in the file."""
    entries = sweep["models"]
    sizes = sorted({entry["memory_size"] for entry in entries})
    rows = [["model", *(f"N = {size:,}" for size in sizes)]]
    for name in dict.fromkeys(entry["model"] for entry in entries):
        of_size = {e["memory_size"]: e for e in entries if e["model"] == name}
        rows.append([f"`{name}`", *(_cell(of_size.get(size)) for size in sizes)])
    flat = ", ".join(f"`{name}` {value['median']:.2f}" for name, value in sweep["flat"].items())
    setting, pair = sweep["setting"], sweep["sdnc_to_dnc"]
    loop = 1e3 * sweep["lstm_cell_loop"]["seconds_per_step"]["total"]["median"]
    megabytes = {name: size / 2**20 for name, size in pair["peak_bytes"].items()}
    return (
        f"{markdown(rows)}\n\nMilliseconds per step, forward and backward, batch "
        f"{setting['batch_size']}, T = {setting['steps']}, fresh memory, median of "
        f"{sweep['rounds']} rounds; kB kept per step and sequence. An LSTMCell loop takes "
        f"{loop:.3f} ms. Largest to smallest N: {flat}. SDNC against DNC at N = "
        f"{pair['memory_size']:,}, T = {pair['steps']}: {pair['faster']['median']:.0f} times as "
        f"fast ({pair['faster']['low']:.0f} to {pair['faster']['high']:.0f}; the paper says "
        f"{pair['paper']['faster']}); at batch 1 {megabytes['sdnc']:.2f} MiB to "
        f"{megabytes['dnc']:.0f}, {pair['smaller']:.0f} times less (the paper: "
        f"{pair['paper']['smaller']}). {measured_on(sweep)}"
    )


def _cell(entry: dict[str, Any] | None) -> str:
    if entry is None:
        return ""
    total = entry["seconds_per_step"]["total"]["median"]
    return f"{1e3 * total:.2f} ms, {entry['bytes_per_step'] / 1000:,.0f} kB"
