"""The table of indexes while words come and go, by `benchmarks.index.streaming`."""

from collections.abc import Sequence
from typing import Any

from benchmarks.tables.defaults_table import (
    clock_text,
    index_cell,
    measured_text,
    target_cell,
    words_cell,
)
from benchmarks.tables.markdown import Column, field, keyed, missing, of_file, table

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
def streaming_table(content: dict[str, Any]) -> str:
    """A row for each set and runbook, a column for each kind: recall, milliseconds."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for record in sorted(content["records"], key=_order):
        if record["target"] is None:
            key = words_cell(record), record["runbook"], record["metric"]
            found.setdefault(key, {"record": record})[record["kind"]] = record
    if not found:
        return missing(_COMMAND)
    kinds = [kind for row in found.values() for kind in row if kind != "record"]
    columns = [
        Column("words", lambda row: words_cell(row["record"])),
        field("runbook", "record.runbook"),
        field("metric", "record.metric"),
        *keyed({kind: f"`{kind}`" for kind in dict.fromkeys(kinds)}, _cell),
    ]
    return (
        f"{table(columns, found.values())}\n\nRecall@10, the lowest, ms a call, the longest. "
        + _about([row["record"] for row in found.values()])
    )


def _cell(record: dict[str, Any]) -> str:
    ms = record["ms"]
    return (
        f"{record['recall']:.2f}, {record['lowest']:.2f}; {ms['median']:.1f}, {ms['longest']:.0f}"
    )


@of_file(_FILE, _COMMAND)
def records_table(content: dict[str, Any]) -> str:
    """Every record in a row: recall along the way, time, bytes."""
    records = content["records"]
    if not records:
        return missing(_COMMAND)
    return f"{table(_COLUMNS, sorted(records, key=_order))}\n\n{_about(records)}"


def _order(record: dict[str, Any]) -> tuple[Any, ...]:
    return record["set"], record["runbook"], record["metric"], record["target"] or 0.0


def _about(records: Sequence[dict[str, Any]]) -> str:
    return (
        "One memory; a call replaces, puts or removes 36 words and searches for 32 queries. Recall "
        "against an exact search at every 14th call, the lowest of four in a row. Libraries with "
        "the least effort (probes, or the width of the search) whose mean recall reaches what is "
        "asked, .9 for the default. " + clock_text(records[0]) + measured_text(records)
    )
