"""The table of versions, and how a run of the tests is counted."""

import json
from pathlib import Path

from benchmarks.tables.matrix_table import FILE, matrix_table
from tests.matrix import COMBINATIONS, QUICK, ROOT, Combination, counted, requirements, tried

ROWS = [
    {"asked": ["3.13", "", ""], "quick": False, "trouble": "no Python 3.13 here"},
    {
        "asked": ["3.11", "2.13.0", ""],
        "quick": False,
        "versions": {"python": "3.11.1", "torch": "2.13.0+cpu", "numpy": "2.4"},
        "passed": 1234,
        "failed": 0,
        "skipped": 5,
        "seconds": 60,
    },
    {
        "asked": ["3.11", "2.6.0", ""],
        "quick": True,
        "versions": {"python": "3.11.1", "torch": "2.6.0", "numpy": "2.0"},
        "passed": 10,
        "failed": 2,
        "skipped": 0,
        "seconds": 60,
    },
]


def test_the_table_is_ordered_by_version_and_says_what_was_run(tmp_path: Path) -> None:
    assert "python -m tests.matrix" in matrix_table(tmp_path)
    origin = {"machine": {"processor": "Abacus", "cores": 3}, "date": "2001-02-03"}
    (tmp_path / FILE).write_text(json.dumps(origin | {"rows": ROWS}))
    assert matrix_table(tmp_path).splitlines() == [
        "| Python | torch | NumPy | passed | failed | skipped |",
        "|---|---|---|---|---|---|",
        "| 3.11.1 | 2.6.0 | 2.0 | 10* | 2 | 0 |",
        "| 3.11.1 | 2.13.0+cpu | 2.4 | 1,234 | 0 | 5 |",
        "| 3.13 | newest | newest | no Python 3.13 here |  |  |",
        "",
        "`python -m tests.matrix`, Abacus, 3 cores, 2001-02-03. With * a part of the tests.",
    ]


def test_a_report_is_counted(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite><testcase classname="a" name="b"/>'
        '<testcase classname="a" name="c"><failure/></testcase>'
        '<testcase classname="a" name="d"><error/></testcase>'
        '<testcase classname="a" name="e"><skipped/></testcase></testsuite></testsuites>'
    )
    counts = {"passed": 1, "failed": 2, "skipped": 1}
    assert counted(report) == counts | {"failures": ["a::c", "a::d"]}


def test_what_is_installed_and_run_is_there() -> None:
    asked = requirements(Combination("3.11", "2.6.0", ""))
    assert asked[:2] == ["torch==2.6.0", "numpy"]
    assert any(line.startswith("pytest>=") for line in asked)
    assert not any(line.startswith("ruff") for line in asked)
    assert all((ROOT / path).is_file() for path in QUICK)
    assert {combination.python for combination in COMBINATIONS} == {"3.11", "3.12", "3.13"}


def test_a_python_that_is_not_there_is_said() -> None:
    assert tried(Combination("2.99", "", ""), True) == {"trouble": "no Python 2.99 here"}
