"""The table of what known indexes need for the searches of a full memory alone."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, missing, of_file, table

_FILE, _COMMAND = "full_memory_searches.json", "benchmarks.full_memory_searches"

_COLUMNS = (
    Column("N", lambda entry: f"2^{entry['memory_size'].bit_length() - 1}"),
    Column("index", lambda entry: f"`{entry['index']}`"),
    Column("effort", lambda entry: str(entry["effort"] or "")),
    field("recall@4", "recall", "{:.3f}"),
    field("ms a step", "ms_per_step.median", "{:.2f}"),
    field("x LSTMCell loop", "to_lstm.median", "{:.1f}"),
    field("seconds to build", "build_seconds", "{:.0f}"),
)


@of_file(_FILE, _COMMAND)
def searches_table(content: dict[str, Any]) -> str:
    """A row for each memory size and index."""
    entries = content["searches"]
    if not entries:
        return missing(_COMMAND)
    return (
        f"{table(_COLUMNS, entries)}\n\n"
        "The 32 queries of a step of a SAM whose memory is full, all in one memory of N words that "
        "do not change; the least effort (probes, or the width of the search) with a recall@4 of "
        f"{content['recall']:g}. {measured_on(content)}"
    )
