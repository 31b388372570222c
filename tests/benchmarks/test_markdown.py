"""Columns as data: what they show of an entry, and the table they make."""

import json
from pathlib import Path

from benchmarks.tables.markdown import (
    Column,
    field,
    keyed,
    measured_each,
    measured_on,
    of_file,
    power,
    spread_field,
    table,
    with_range,
)

SPREAD = {"median": 0.002, "low": 0.001, "high": 0.0035}


def test_a_table_has_a_column_for_each_specification() -> None:
    columns = [
        field("name", "name", "`{}`"),
        field("ms", "times.median", "{:.1f}", scale=1e3),
        spread_field("range", "times", "{:.1f}", scale=1e3),
        *keyed({8: "N = 8", 16: "N = 16"}, "{:+d}".format),
        Column("size", lambda entry: power(entry["size"])),
    ]
    first = {"name": "a", "times": SPREAD, 8: 1, "size": 2**20}
    second = {"name": "b", "times": SPREAD, 16: 2, "size": 1000}
    assert table(columns, [first, second]).splitlines() == [
        "| name | ms | range | N = 8 | N = 16 | size |",
        "|---|---|---|---|---|---|",
        "| `a` | 2.0 | 2.0 (1.0 to 3.5) | +1 |  | 2^20 |",
        "| `b` | 2.0 | 2.0 (1.0 to 3.5) |  | +2 | 1,000 |",
    ]


def test_what_an_entry_lacks_is_left_empty() -> None:
    deep = field("", "a.b", "{:,}")
    assert [deep.cell(entry) for entry in ({}, {"a": None}, {"a": {}}, {"a": {"b": None}})] == [
        ""
    ] * 4
    assert deep.cell({"a": {"b": 0}}) == "0"


def test_a_single_value_has_no_range() -> None:
    assert with_range([1.5], "{:.1f}") == "1.5"
    assert with_range([3, 1, 2], "{:.0f}") == "2 (1 to 3)"


def test_a_file_that_is_missing_says_how_to_make_it(tmp_path: Path) -> None:
    make = of_file("x.json", "benchmarks.x")(lambda found: f"got {found['a']}")
    assert make(tmp_path) == "Not measured yet: `python -m benchmarks.x`."
    (tmp_path / "x.json").write_text(json.dumps({"a": 1}))
    assert make(tmp_path) == "got 1"


def test_results_of_several_machines_say_which_were_where():
    machine = {"processor": "Abacus", "cores": 3, "memory_gib": 1.5}
    one = {"machine": machine, "threads": 1, "versions": {"torch": "2"}, "date": "2026-01-02"}
    one["name"] = "beads"
    later = one | {"date": "2026-01-03", "name": "rods"}
    told = [measured_on(result) for result in (one, later)]
    assert measured_each([one, one], lambda result: result["name"]) == told[0]
    every = measured_each([one, later, one | {"name": "frame"}], lambda result: result["name"])
    assert every == f"beads, frame: {told[0]} rods: {told[1]}"
