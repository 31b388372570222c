"""The table of `benchmarks.base_memory`."""

from typing import Any

from benchmarks.tables.markdown import (
    field,
    measured_elsewhere,
    measured_on,
    of_file,
    spread_field,
    table,
)

FILE = "base_memory.json"
_COLUMNS = (
    field("index", "index", "`{}`"),
    field("words", "words", "{:,}"),
    field("kept as", "dtype"),
    field("bytes a word", "bytes_a_word", "{:.1f}"),
    field("built in s (of the process)", "built"),
    field("opened in ms (cold)", "opened"),
    field("256 cold words in ms", "cold_rows_ms", "{:.1f}"),
    field("resident", "resident", "{:,.0f} MiB", scale=2**-20),
    spread_field("step in ms (range)", "step_ms", "{:.3f}"),
    field("LSTM cells", "times_lstm_cell.median", "{:.1f}"),
    field("recall@4", "recall", "{:.3f}"),
    spread_field("SAM, x LSTMCell loop (range)", "sam_to_loop", "{:.1f}"),
)


@of_file(FILE, "benchmarks.base_memory")
def base_table(found: dict[str, Any]) -> str:
    """A row for each base, and a sentence about the optimizers."""
    rows = [
        base
        | {
            "bytes_a_word": base["nbytes"] / base["words"],
            "built": f"{base['build_seconds']:,.0f}"
            + (f" ({base['build_cpu_seconds']:,.0f})" if "build_cpu_seconds" in base else ""),
            "opened": f"{base['open_ms']:.1f} ({base['cold_open_ms']:.1f})",
        }
        for base in found["bases"]
    ]
    step, trained = found["step"], found["optimizers"]
    cpu = [base for base in found["bases"] if base.get("clock") == "cpu"]
    named = ", ".join(f"`{name}`" for name in dict.fromkeys(base["index"] for base in cpu))
    clock = f" Steps over {named} in time of the process alone." if named else ""
    others = measured_elsewhere(
        found, found["bases"], lambda base: f"`{base['index']}` of {base['words']:,}"
    )
    times = ", ".join(
        f"`{name}` {trained[key]['ms'].get('median'):.2f} ms"
        for name, key in (
            ("SparseAdam", "sparse_adam"),
            ("RowwiseAdam", "rowwise_adam"),
            ("RowwiseAdagrad", "rowwise_adagrad"),
        )
    )
    return (
        f"{table(_COLUMNS, rows)}\n\n"
        f"Clustered words of 32 numbers. A step puts {step['writes']} words of each of "
        f"{step['batch']} memories over the base and finds the {step['k']} nearest of "
        f"{step['queries']} queries each, near words of the base; beside it a step of an LSTM cell "
        f"of 100 units. SAM: sequences of 50 steps from a fresh state, and back. A step "
        f"of the optimizers on {trained['rows']:,} rows of which "
        f"{trained['touched']:,} are touched: {times}.{clock} {measured_on(found)}{others}"
    )
