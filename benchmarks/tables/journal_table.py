"""The table of `benchmarks.bytes.journal`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, of_file, power, table

FILE = "journal.json"
_KB, _MIB = 1e-3, 2**-20


def _sizes(case: dict[str, Any]) -> str:
    heads, top_k = case["heads"], case["top_k"]
    return f"{heads} heads x {top_k} words of {case['word_size']}, {case['hidden_size']} units"


@of_file(FILE, "benchmarks.bytes.journal")
def journal_table(found: dict[str, Any]) -> str:
    """A row per model."""
    cases = found["cases"]
    full = power(cases[0]["full_words"])
    columns = (
        field("model", "name"),
        Column("sizes", _sizes),
        field("journal, kB a step", "journal_bytes", "{:.1f}", scale=_KB),
        field(f"copy after {found['steps']} steps, kB", "copy_bytes", "{:,.0f}", scale=_KB),
        field(f"copy with {full} words, MiB", "full_copy_bytes", "{:,.0f}", scale=_MIB),
    )
    return f"{table(columns, cases)}\n\nA batch row, float32."
