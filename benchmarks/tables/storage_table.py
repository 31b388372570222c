"""The table of indexes that keep their words rounded, by `benchmarks.index.storage`."""

from typing import Any

from benchmarks.tables.defaults_table import clock_text, words_cell
from benchmarks.tables.markdown import Column, field, measured_on, missing, of_file, table

_FILE, _COMMAND = "index_storage.json", "benchmarks.index.storage"

_COLUMNS = (
    Column("words", words_cell),
    field("metric", "metric"),
    Column("index", lambda record: f"`{record['kind']}`"),
    Column("storage", lambda record: f"`{record['storage']}`"),
    Column("copies", lambda record: "no" if record["copies"] is False else ""),
    field("bytes a word", "bytes_per_word", "{:,.0f}"),
    field("recall@10", "recall", "{:.3f}"),
    field("of what is kept", "recall_of_kept", "{:.3f}"),
    field("ms a call", "ms.median", "{:.2f}"),
    field("x float32", "to_float32.median", "{:.2f}"),
)


@of_file(_FILE, _COMMAND)
def storage_table(content: dict[str, Any]) -> str:
    """A row for each set, kind and way to keep words."""
    records = content["records"]
    if not records:
        return missing(_COMMAND)
    return (
        f"{table(_COLUMNS, records)}\n\n"
        "Bytes of the whole index; recall@10 against the true neighbors by float32, and against "
        "those by what is kept; a call replaces 36 words and searches for 32, in turns with "
        f"float32. {clock_text(records[0])}{measured_on(records[-1])}"
    )
