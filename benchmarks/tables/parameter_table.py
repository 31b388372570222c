"""The table of `benchmarks.parameters`."""

from statistics import geometric_mean
from typing import Any

from benchmarks.tables.markdown import Column, field, of_file, table

FILE = "parameters.json"


def _controller(row: dict[str, Any]) -> str:
    layers = f"{row['num_layers']} x " if row["num_layers"] > 1 else ""
    return f"{row['controller']} {layers}{row['hidden_size']}"


def _learned(row: dict[str, Any]) -> int:
    return row["ours"] + row["initial_state"]


_COLUMNS = (
    field("task", "task"),
    Column("controller", _controller),
    field("heads", "heads"),
    field("ours", "ours", "{:,}"),
    Column("with a learned start", lambda row: f"{_learned(row):,}"),
    field("paper", "paper", "{:,}"),
    Column("ratio", lambda row: f"{_learned(row) / row['paper']:.2f}"),
)


@of_file(FILE, "benchmarks.parameters")
def parameter_table(found: dict[str, Any]) -> str:
    """A row per network: ours, what a learned initial state would add, the paper's."""
    rows = found["networks"]
    mean = geometric_mean(_learned(row) / row["paper"] for row in rows)
    return f"{table(_COLUMNS, rows)}\n\nMemory 128 x 20. Geometric mean of the ratios: {mean:.2f}."
