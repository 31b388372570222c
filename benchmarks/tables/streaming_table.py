"""The table of indexes while words come and go, by `benchmarks.index.streaming`."""

from typing import Any

from benchmarks.tables.defaults_table import index_cell, target_cell, words_cell
from benchmarks.tables.markdown import Column, field, measured_on, missing, of_file, table

_FILE, _COMMAND = "index_streaming.json", "benchmarks.index.streaming"
_COLUMNS = (
    field("runbook", "runbook"),
    Column("words", words_cell),
    field("metric", "metric"),
    Column("index", index_cell),
    Column("recall asked", target_cell),
    field("mean recall@10", "recall", "{:.3f}"),
    field("lowest", "lowest", "{:.3f}"),
    field("ms a call", "ms.median", "{:.2f}"),
    field("mean", "ms.mean", "{:.2f}"),
    field("longest", "ms.longest", "{:.0f}"),
    field("bytes a word", "bytes_per_word", "{:.0f}"),
)


@of_file(_FILE, _COMMAND)
def records_table(content: dict[str, Any]) -> str:
    """Every record in a row: recall along the way, time, bytes."""
    records = content["records"]
    if not records:
        return missing(_COMMAND)
    return f"{table(_COLUMNS, sorted(records, key=_order))}\n\n{_about(records[0])}"


def _order(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["set"], record["runbook"], record["metric"], record["target"] or 0.0


def _about(record: dict[str, Any]) -> str:
    return (
        "One memory; a call replaces, puts or removes 36 words and searches for 32 queries. Recall "
        "against an exact search at every 14th call, the lowest of four in a row. Libraries with "
        "the least effort (probes, or the width of the search) whose mean recall reaches what is "
        "asked, .9 for the default. " + measured_on(record)
    )
