"""The table of `benchmarks.cuda`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, of_file, power, table

FILE = "cuda.json"
_LAUNCHED = {"python": "from Python", "graph": "as a graph"}
_COLUMNS = (
    Column("N", lambda row: power(row["memory_size"])),
    Column("words in", lambda row: "nearly all slots" if row["occupied"] else "few slots"),
    field("launched", "launched"),
    field("SAM", "seconds_per_step.median", "{:,.0f}", scale=1e6),
    field("`nn.LSTMCell`", "lstm_seconds_per_step.median", "{:,.0f}", scale=1e6),
    field("ratio", "to_lstm.median", "{:.2f}"),
    field("peak GiB", "peak_bytes", "{:.1f}", scale=2**-30),
)


@of_file(FILE, "benchmarks.cuda")
def cuda_table(found: dict[str, Any]) -> str:
    """A row per memory and way: microseconds of a step, and times those of an LSTMCell step."""
    rows = []
    for case in found["cases"]:
        if not case.get("fits", True):
            rows.append(case | {"launched": "does not fit"})
        rows += [
            case | case[way] | {"launched": launched}
            for way, launched in _LAUNCHED.items()
            if way in case
        ]
    setting = found["setting"]
    return (
        f"{table(_COLUMNS, rows)}\n\nMicroseconds of a step, both passes, medians of "
        f"{found['rounds']} rounds, batch {setting['batch_size']}, {setting['num_heads']} heads, "
        f"K = {setting['top_k']}, W = {setting['word_size']}, T = {setting['steps']}, exact "
        f"search, on {found['gpu']}. {measured_on(found)}"
    )
