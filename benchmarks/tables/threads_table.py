"""The table of `benchmarks.threads`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, of_file, table

FILE = "threads.json"


def _range(case: dict[str, Any]) -> str:
    speed = case["speed"]
    return f"{speed['median']:.2f} ({speed['low']:.2f} to {speed['high']:.2f})"


@of_file(FILE, "benchmarks.threads")
def threads_table(found: dict[str, Any]) -> str:
    """A row per model, batch and length."""
    columns: list[Column] = [
        Column("model", lambda case: case["model"].upper()),
        field("batch", "batch_size"),
        field("T", "steps"),
        field("one thread, us", "seconds.median", "{:.1f}", scale=1e6),
        Column(f"{found['threads']} threads, times as fast (range)", _range),
        field("aim", "aim"),
        field("`nn.LSTM`", "lstm.median", "{:.2f}"),
    ]
    return (
        f"{table(columns, found['cases'])}\n\n"
        "Forward and backward, medians of "
        f"{found['rounds']} rounds, a fresh memory of 2^20 words, 100 units; with one thread, a "
        f"step and batch row. {measured_on(found)}"
    )
