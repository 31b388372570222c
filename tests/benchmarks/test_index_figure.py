"""The figure is drawn from whatever records there are, and its points are theirs."""

from pathlib import Path

import pytest

from benchmarks.index.index_figure import glove_points, plot_index, sized_points
from benchmarks.index.index_summary import summary
from benchmarks.tables.index_table import index_table
from tests.benchmarks.test_report import index_records

ORIGIN = {
    "machine": {"processor": "Abacus", "cores": 3, "memory_gib": 1.5},
    "threads": 2,
    "versions": {"torch": "9.9"},
    "date": "2001-02-03",
}


def test_points_are_those_of_the_records() -> None:
    records = index_records(ORIGIN)
    assert sized_points(records[::-1], "clustered") == {
        "exact": [(9.5, 0.75, "2^16")],
        "ivf": [(1.25, 0.75, "2^16"), (2.5, 0.75, "2^20")],
    }
    assert sized_points(records, "gaussian") == {}
    assert glove_points(records) == {
        "ivf": [(0.01, 0.7, "8"), (0.02, 0.92, "16"), (0.05, 0.98, "32")]
    }


@pytest.mark.parametrize("count", [0, 1, 4])
def test_some_records_or_none_make_a_figure(count: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    records = index_records(ORIGIN)[4 - count :]
    path = tmp_path / "new" / "index.png"
    plot_index({"records": records}, path)
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_a_table_is_made_of_what_there_is(tmp_path: Path) -> None:
    (tmp_path / "index.json").write_text('{"records": []}')
    table = index_table(tmp_path)
    assert "| `ivf` |" in table
    assert "GloVe:" not in table.partition("\n\n")[2]


def test_summary_has_a_line_for_each_index() -> None:
    state = {"recall_1": 0.5, "recall_k": 0.25}
    record = {
        "part": "drift",
        "memory_size": 64,
        "word_size": 8,
        "indexes": [{"name": "ivf", "before": state, "after": state, "seconds": 2.0}],
    }
    assert summary(record).splitlines() == [
        "drift, N = 64, W = 8:",
        "  ivf  recall@1 0.500 -> 0.500, @8 0.250 -> 0.250, 2.0 s",
    ]
