"""Tables of indexes with default options on many sets of words, by `benchmarks.index.defaults`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, measured_on, missing, of_file, table

_FILE, _COMMAND = "index_defaults.json", "benchmarks.index.defaults"


def words_cell(record: dict[str, Any]) -> str:
    """Name and size of the set."""
    return f"{record['set']} {record['words']:,} x {record['word_size']}"


def target_cell(record: dict[str, Any]) -> str:
    """The recall that was asked for."""
    return "default" if record["target"] is None else f"{record['target']:g}"


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
def records_table(content: dict[str, Any]) -> str:
    """Every record in a row: recall@10 in all states, time, bytes."""
    records = content["records"]
    if not records:
        return missing(_COMMAND)
    ordered = sorted(records, key=lambda r: (r["set"], r["metric"], r["kind"], r["target"] or 0))
    return f"{table(_COLUMNS, ordered)}\n\n{_about(records[0])}"


def _about(record: dict[str, Any]) -> str:
    return (
        "Recall@10 against an exact search, one memory: fresh; the mean while half of the slots "
        "get other words, 36 a call with 32 queries, and after it; the same while all get words "
        "from elsewhere; lowest of 128 queries within 2,000 updates. Exact search in turns. "
        + measured_on(record)
    )
