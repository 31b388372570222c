"""The table of `benchmarks.base_rivals`."""

from typing import Any

from benchmarks.tables.markdown import (
    field,
    measured_elsewhere,
    measured_on,
    of_file,
    spread_field,
    table,
)

FILE = "base_rivals.json"
_COLUMNS = (
    field("words", "words", "{:,}"),
    field("index", "index", "`{}`"),
    field("built in s", "build_seconds", "{:,.0f}"),
    field("bytes a word", "bytes_a_word", "{:,.0f}"),
    field("effort", "effort"),
    field("recall@4", "recall", "{:.3f}"),
    spread_field("call in ms (range)", "call_ms", "{:.3f}"),
    field("LSTM cells", "times_lstm_cell.median", "{:.1f}"),
)


@of_file(FILE, "benchmarks.base_rivals")
def rivals_table(found: dict[str, Any]) -> str:
    """A row for each index of each number of words."""
    calls = found["calls"]
    cpu = any(one["clock"] == "cpu" for one in found["found"])
    clock = " Calls in time of the process alone." if cpu else ""
    others = measured_elsewhere(
        found, found["found"], lambda one: f"`{one['index']}` of {one['words']:,}"
    )
    return (
        f"{table(_COLUMNS, found['found'])}\n\n"
        f"The words of the table above, {calls['queries']} queries a call, the {calls['k']} "
        "nearest of each. `base` is a base, mapped from its files; `faiss` is FAISS by itself, in "
        "memory, with the least effort that reaches a recall of 0.9: lists looked into, or words "
        "kept in view, and candidates for each neighbor that are compared once more. Lists found "
        f"by a graph have the centroids of the base `ivf`, whose time is not counted.{clock} "
        f"{measured_on(found)}{others}"
    )
