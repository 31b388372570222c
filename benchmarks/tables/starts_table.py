"""The table of `benchmarks.starts`."""

from typing import Any

from benchmarks.tables.markdown import Column, field, keyed, measured_on, of_file, table

FILE = "starts.json"


def _times(share: dict[str, Any]) -> str:
    return f"{share['one']['median']:.2f} / {share['cut']['median']:.2f}"


@of_file(FILE, "benchmarks.starts")
def starts_table(found: dict[str, Any]) -> str:
    """A row per model, batch and length; a column per share of steps with which rows begin."""
    cases = found["cases"]
    shares = {each["share"]: f"{100 * each['share']:g} %" for each in cases[0]["shares"]}
    columns: list[Column] = [
        Column("model", lambda case: case["model"].upper()),
        field("batch", "batch_size"),
        field("T", "steps"),
        field("without, us", "seconds.median", "{:.1f}", scale=1e6),
        *keyed(shares, _times),
    ]
    rows = [case | {each["share"]: each for each in case["shares"]} for case in cases]
    return (
        f"{table(columns, rows)}\n\n"
        "Times of the same call without starts: as one operation / cut into calls, by the share of "
        "steps with which a row begins anew; without, a step and batch row. Forward and backward, "
        f"medians of {found['rounds']} rounds, processor time, a fresh memory of 2^20 words, 100 "
        f"units. {measured_on(found)}"
    )
