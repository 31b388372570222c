"""The table of `benchmarks.step.updates`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, of_file, table

FILE = "updates.json"
_PARTS = ("all", "forward", "loss", "backward", "data", "clip", "optimizer", "rest")


@of_file(FILE, "benchmarks.step.updates")
def updates_table(found: dict[str, Any]) -> str:
    """A row per recipe."""
    columns = (
        Column("recipe", lambda case: f"`{case['recipe']}`"),
        field("batch", "batch_size"),
        *(field(name, f"seconds.{name}", "{:,.0f}", scale=1e6) for name in _PARTS),
        field("outside, %", "outside", "{:.1f}", scale=100),
        field("with the loss, %", "outside_and_loss", "{:.1f}", scale=100),
    )
    return (
        f"{table(columns, found['cases'])}\n\n"
        f"Microseconds of an update, mean of {found['cases'][0]['updates']}; time of the process. "
        f"Outside: of forward pass, loss and backward pass. {measured_on(found)}"
    )
