"""The table of `benchmarks.long_sequence`."""

import json
from pathlib import Path
from typing import Any

from benchmarks.tables.markdown import markdown, measured_on, missing

FILE = "long_sequence.json"
_RUN_AS = {"sequence": "one operation", "step": "one a step", "plain": "plain torch"}


def long_sequence_table(results: Path) -> str:
    """A row per memory and length, then a row per piece that a step keeps."""
    path = results / FILE
    if not path.exists():
        return missing("benchmarks.long_sequence")
    found = json.loads(path.read_text())
    head = ["index", "N", "steps", "runs as", "forward", "backward", "both (range)"]
    rows = [[*head, f"to {found['reference_steps']:,} steps", "resident", "growth a step"]]
    rows += [_row(sequence) for sequence in found["sequences"]]
    kept, limit = found["kept"], found["limit"]
    pieces = [["kept for the backward pass by", "what for", "bytes a step"]]
    for piece in kept["pieces"]:
        savers = "; ".join(f"`{name}`" for name in piece["saved_by"])
        pieces.append([savers, piece["reason"], f"{piece['bytes']:,.0f}"])
    pieces.append(["all", "", f"{kept['bytes_per_step']:,.0f}"])
    others = "".join(
        f", {_RUN_AS[name]} {size:,.0f}"
        for name, size in kept["of_paths"].items()
        if name != kept["path"]
    )
    return (
        f"{markdown(rows)}\n\n{markdown(pieces)}\n\nSAM, batch 1, microseconds and bytes a step. "
        f"Kept when it runs as {_RUN_AS[kept['path']]}{others}. A storage, or a part of one that "
        f"is looked at apart, counts once and whole, and stands with all operations that keep it; "
        f"a shape with T holds all steps. The resident set holds autograd's own nodes and the way "
        f"back as well. Aims: {limit['bytes_per_step']:,} bytes a step; at {limit['steps']:,} "
        f"steps {limit['resident_peak'] / 2**30:.0f} GiB and {limit['to_reference']:.0f} times the "
        f"time of a step at {found['reference_steps']:,}. {measured_on(found)}"
    )


def _row(sequence: dict[str, Any]) -> list[str]:
    phases = sequence["seconds_per_step"]
    total = {key: 1e6 * value for key, value in phases["total"].items()}
    size = sequence["resident"]
    bytes_of = (
        ("", "")
        if size is None
        else (f"{size['peak'] / 2**20:,.0f} MiB", f"{size['growth'] / sequence['steps']:,.0f} B")
    )
    return [
        f"`{sequence['index']}`",
        f"{sequence['memory_size']:,}",
        f"{sequence['steps']:,}",
        _RUN_AS[sequence["path"]],
        *(f"{1e6 * phases[phase]['median']:,.1f}" for phase in ("forward", "backward")),
        f"{total['median']:,.1f} ({total['low']:,.1f} to {total['high']:,.1f})",
        f"{sequence['to_reference']['median']:.2f}",
        *bytes_of,
    ]
