"""Tables of indexes with default options on many sets of words, by `benchmarks.index.defaults`."""

from collections.abc import Sequence
from typing import Any

from benchmarks.index.datasets import REAL
from benchmarks.tables.markdown import Column, field, keyed, measured_each, missing, of_file, table

_FILE, _COMMAND = "index_defaults.json", "benchmarks.index.defaults"
_FIRST = ("`auto`", "`ivf`", "`product`", "`lsh`", "`faiss`")


def words_cell(record: dict[str, Any]) -> str:
    """Name and size of the set."""
    return f"{record['set']} {record['words']:,} x {record['word_size']}"


def target_cell(record: dict[str, Any]) -> str:
    """The recall that was asked for."""
    return "default" if record["target"] is None else f"{record['target']:g}"


def clock_text(record: dict[str, Any]) -> str:
    """What time is meant, where it is not that of the clock on the wall."""
    return "Time of the process alone. " if record["clock"] == "cpu" else ""


def measured_text(records: Sequence[dict[str, Any]]) -> str:
    """Where and when records were measured; of several places or days which words were where."""
    return measured_each(records, words_cell)


def index_cell(record: dict[str, Any]) -> str:
    """The kind, and the effort of a library."""
    effort = f" {record['effort']}" if record["effort"] else ""
    return f"`{record['kind']}`{effort}"


def _lowest(record: dict[str, Any]) -> str:
    return f"{min(record['churn']['lowest'], record['drift']['lowest']):.3f}"


_COLUMNS = (
    Column("words", words_cell),
    field("metric", "metric"),
    Column("index", index_cell),
    Column("recall asked", target_cell),
    field("fresh", "fresh.recall", "{:.3f}"),
    field("churn", "churn.recall", "{:.3f}"),
    field("after", "churn.after", "{:.3f}"),
    field("drift", "drift.recall", "{:.3f}"),
    field("after", "drift.after", "{:.3f}"),
    Column("lowest", _lowest),
    field("ms a call", "churn.ms.median", "{:.2f}"),
    field("x exact", "churn.to_exact.median", "{:.2f}"),
    Column("longest ms", lambda r: f"{max(r[p]['ms']['longest'] for p in ('churn', 'drift')):.0f}"),
    field("candidates", "churn.candidates", "{:,.0f}"),
    field("bytes a word", "bytes_per_word", "{:.0f}"),
)


@of_file(_FILE, _COMMAND)
def defaults_table(content: dict[str, Any]) -> str:
    """A row for each real set and metric, a column for each kind: recall, time to exact search.

    Sets of which one kind alone was measured are left out, unless there are no others.
    """
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for record in content["records"]:
        usual = record["target"] is None and record["queries"] == "held_out"
        if usual and record["set"] in REAL:
            row = found.setdefault((words_cell(record), record["metric"]), {"record": record})
            row[f"`{record['kind']}`"] = record
    if not found:
        return missing(_COMMAND)
    # Where several were measured; the table of all records has the others.
    found = {key: row for key, row in found.items() if len(row) > 2} or found
    kinds = {kind for row in found.values() for kind in row if kind != "record"}
    columns = [
        Column("words", lambda row: words_cell(row["record"])),
        field("metric", "record.metric"),
        *keyed({kind: kind for kind in sorted(kinds, key=_place)}, _cell),
    ]
    return (
        f"{table(columns, found.values())}\n\nRecall@10 with default options: fresh / lowest in "
        "churn / lowest in drift, then times of exact search that a call takes; in brackets the "
        "least effort that reaches 0.9 where a library has to be told one. "
        + _about([row["record"] for row in found.values()])
    )


def _place(kind: str) -> tuple[int, str]:
    """Where the column of a kind stands: ours in the usual order, then the others."""
    return (_FIRST.index(kind) if kind in _FIRST else len(_FIRST)), kind


def _cell(record: dict[str, Any]) -> str:
    recalls = record["fresh"]["recall"], record["churn"]["lowest"], record["drift"]["lowest"]
    times = record["churn"]["to_exact"]
    ratio = f", {times['median']:.2f}" if times else ""
    effort = f" ({record['effort']})" if record["effort"] else ""
    return " / ".join(f"{recall:.2f}" for recall in recalls) + ratio + effort


@of_file(_FILE, _COMMAND)
def records_table(content: dict[str, Any]) -> str:
    """Every record in a row: recall@10 in all states, time, bytes."""
    records = content["records"]
    if not records:
        return missing(_COMMAND)
    ordered = sorted(records, key=lambda r: (r["set"], r["metric"], r["kind"], r["target"] or 0))
    return f"{table(_COLUMNS, ordered)}\n\n{_about(records)}"


def _about(records: Sequence[dict[str, Any]]) -> str:
    return (
        "One memory. Churn: half of the slots get other words of the set, 36 a call with 32 "
        "queries; drift: all of them get words from elsewhere. Recall against an exact search, the "
        "lowest of 128 queries within 2,000 updates; exact search timed in turns. "
        + clock_text(records[0])
        + measured_text(records)
    )
