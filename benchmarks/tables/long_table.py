"""The table of `benchmarks.long_sequence`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, of_file, spread_field, table

FILE = "long_sequence.json"
_RUN_AS = {"sequence": "one operation", "step": "one a step", "plain": "plain torch"}
_PIECES = (
    Column(
        "kept for the backward pass by",
        lambda piece: "; ".join(f"`{name}`" for name in piece["saved_by"]) or "all",
    ),
    field("what for", "reason"),
    field("bytes a step", "bytes", "{:,.0f}"),
)


@of_file(FILE, "benchmarks.long_sequence")
def long_sequence_table(found: dict[str, Any]) -> str:
    """A row per memory and length, then a row per piece that a step keeps."""
    reference = f"to {found['reference_steps']:,} steps"
    kept, limit = found["kept"], found["limit"]
    pieces = [*kept["pieces"], {"saved_by": [], "bytes": kept["bytes_per_step"]}]
    others = "".join(
        f", {_RUN_AS[name]} {size:,.0f}"
        for name, size in kept["of_paths"].items()
        if name != kept["path"]
    )
    return (
        f"{table(_columns(reference), found['sequences'])}\n\n{table(_PIECES, pieces)}\n\n"
        f"SAM, batch 1, microseconds and bytes a step. "
        f"Kept when it runs as {_RUN_AS[kept['path']]}{others}. A storage, or a part of one that "
        f"is looked at apart, counts once and whole, and stands with all operations that keep it; "
        f"a shape with T holds all steps. The resident set holds autograd's own nodes and the way "
        f"back as well. Aims: {limit['bytes_per_step']:,} bytes a step; at {limit['steps']:,} "
        f"steps {limit['resident_peak'] / 2**30:.0f} GiB and {limit['to_reference']:.0f} times the "
        f"time of a step at {found['reference_steps']:,}. {measured_on(found)}"
    )


def _columns(reference: str) -> tuple[Column, ...]:
    micro, seconds = 1e6, "seconds_per_step"
    return (
        field("index", "index", "`{}`"),
        field("N", "memory_size", "{:,}"),
        field("steps", "steps", "{:,}"),
        Column("runs as", lambda sequence: _RUN_AS[sequence["path"]]),
        field("forward", f"{seconds}.forward.median", "{:,.1f}", scale=micro),
        field("backward", f"{seconds}.backward.median", "{:,.1f}", scale=micro),
        spread_field("both (range)", f"{seconds}.total", "{:,.1f}", scale=micro),
        field(reference, "to_reference.median", "{:.2f}"),
        field("resident", "resident.peak", "{:,.0f} MiB", scale=2**-20),
        Column("growth a step", _growth),
    )


def _growth(sequence: dict[str, Any]) -> str:
    size = sequence["resident"]
    return "" if size is None else f"{size['growth'] / sequence['steps']:,.0f} B"
