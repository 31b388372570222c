"""Tables and figure say what the file of the sweep says, and refuse what it does not say."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.sweep.sweep_figure import plot_sweep
from benchmarks.sweep.sweep_file import FILE, ResultsError, Sweep
from benchmarks.tables.model_table import model_table
from benchmarks.tables.speed_table import speed_table
from benchmarks.tables.time_table import time_table, times_at
from tests.benchmarks.sweeps import write_sweep


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder with round numbers."""
    write_sweep(tmp_path)
    return tmp_path


def changed(results: Path, part: str, keep: Callable[[dict[str, Any]], bool]) -> None:
    """Leaves those entries of a part that are to be kept."""
    content = json.loads((results / FILE).read_text())
    record = content["parts"][part]
    record["entries"] = [entry for entry in record["entries"] if keep(entry)]
    (results / FILE).write_text(json.dumps(content))


def test_the_table_of_times_holds_the_numbers(results: Path) -> None:
    table = time_table(results)
    assert [line for line in table.splitlines() if line.startswith("| ")] == [
        "|  | N | forward ms | backward ms | both ms | x LSTMCell loop | bytes kept |",
        "| SAM, whole sequence, fresh memory | 2^10, 2^20, 2^30 | 0.250, 0.250, 0.250 "
        "| 0.750, 0.750, 0.750 | 1.000, 1.000, 1.000 | 1.00, 1.00, 1.00 | 12,345 |",
        "| SAM, stepwise, fresh memory | 2^10, 2^20, 2^30 | 0.500, 0.500, 0.500 "
        "| 1.500, 1.500, 1.500 | 2.000, 2.000, 2.000 | 2.00, 2.00, 2.00 | 12,345 |",
        # LSH is faster, but finds too few.
        "| SAM `ivf`, whole sequence, every slot written, recall@1 0.95, 0.95 | 2^16, 2^20 "
        "| 1.250, 1.250 | 3.750, 3.750 | 5.000, 5.000 | 5.00, 5.00 | 12,345 |",
        "| SAM `faiss`, whole sequence, every slot written, recall@1 0.97, 0.97 | 2^16, 2^20 "
        "| 1.500, 1.500 | 4.500, 4.500 | 6.000, 6.000 | 6.00, 6.00 | 12,345 |",
        "| SDNC, whole sequence | 2^20 | 0.250 | 0.750 | 1.000 | 1.00 | 12,345 |",
        "| SDNC | 2^20 | 0.750 | 2.250 | 3.000 | 3.00 | 12,345 |",
        "| NTM | 2^8 | 11.500 | 34.500 | 46.000 | 46.00 | 12,345 |",
        "| `nn.LSTM` |  | 0.062 | 0.188 | 0.250 | 0.25 |  |",
        "| `nn.LSTMCell` loop |  | 0.250 | 0.750 | 1.000 | 1 |  |",
    ]
    for sentence in (
        "batch 8, median of 7 rounds, T = 100 (NTM 10, full memories 20); bytes per sequence.",
        "Time at 2^30 to that at 2^10: whole sequence 1.25 (1.00 to 1.50), stepwise 1.25 (",
        "takes 46 times SAM's at 2^8 words, the largest measured, and by its slope 196,606 times",
        "(the paper: 1,600)",
        "A fresh state of 2^30 words, batch 8, takes 51 kB.",
        "N = 2^16, T = 100, batch 1 takes at most 3.00 MiB beside the parameters",
        "(the paper's SAM: 53.0 + 7.8 MiB). Abacus, 3 cores, 1.5 GiB, 2 threads, torch 9.9, 2001",
    ):
        assert sentence in table


def test_a_slope_goes_on_from_the_last_two_sizes(results: Path) -> None:
    sweep = Sweep(results)
    assert times_at(sweep, "ntm", 256) == pytest.approx(46)
    assert times_at(sweep, "ntm", 256 + 64 * 3) == pytest.approx(82)
    with pytest.raises(ResultsError, match="expected two sizes of dnc, got 1"):
        times_at(sweep, "dnc", 256)


@pytest.mark.parametrize(
    ("part", "keep", "message"),
    [
        (
            "fresh",
            lambda entry: entry["memory_size"] != 2**20,
            "expected an entry of model sam, path sequence, index exact with N = 1048576, got none",
        ),
        ("fresh", lambda entry: entry["model"] != "nn.LSTM", "of model nn.LSTM with N = None"),
        ("dense", lambda entry: entry["model"] != "ntm", "'dense': expected entries of ntm"),
        ("full", lambda entry: False, "'full': expected entries, got none"),
    ],
)
def test_what_is_missing_is_named(
    part: str, keep: Callable[[dict[str, Any]], bool], message: str, results: Path
) -> None:
    changed(results, part, keep)
    with pytest.raises(ResultsError, match=message):
        time_table(results)


def test_without_faiss_its_row_is_left_out(results: Path) -> None:
    changed(results, "full", lambda entry: entry["index"] != "faiss")
    assert "faiss" not in time_table(results) and "SAM `ivf`" in time_table(results)


def test_an_index_with_all_sizes_comes_before_a_faster_one(results: Path) -> None:
    changed(results, "full", lambda entry: entry["index"] != "ivf" or entry["memory_size"] < 2**20)
    row = "| SAM `ivf`, whole sequence, every slot written, recall@1 0.95 | 2^16 |"
    assert row in time_table(results)
    content = json.loads((results / FILE).read_text())
    for entry in content["parts"]["full"]["entries"]:
        if entry["index"] == "lsh":
            entry |= {"recall_1": 0.9, "to_lstm": dict.fromkeys(("median", "low", "high"), 99.0)}
    (results / FILE).write_text(json.dumps(content))
    assert "recall@1 0.90, 0.90 | 2^16, 2^20 |" in time_table(results)


def test_models_stand_beside_each_other(results: Path) -> None:
    table = model_table(results)
    assert table.splitlines()[0] == "| model | N = 64 | N = 256 |"
    for row in ("| NTM | 10.00 ms, 12 kB | 46.00 ms, 12 kB |", "| DNC | 20.00 ms, 12 kB |  |"):
        assert row in table
    assert "median of 7 rounds; kB kept" in table
    assert "123 times as fast (1 to 2; the paper says 440)" in table
    assert "0.25 MiB to 3, 12 times less (the paper: 240)" in table


def test_everything_is_in_the_long_tables(results: Path) -> None:
    tables = speed_table(results)
    for part in (
        "**Fresh memory** (batch 8, T = 100); `nn.LSTM` 0.250 (0.25) ms; `nn.LSTMCell` loop 1.000",
        "| ms (x LSTMCell loop) | 2^10 | 2^12 | 2^20 | 2^30 |",
        "| SAM, plain torch | 8.000 (8.00) | 8.000 (8.00) | 8.000 (8.00) | 8.000 (8.00) |",
        "sam exact sequence 1.25",
        "| SAM `lsh`, stepwise | 2^16 | 2.000 | 6.000 | 8.000 (4.000 to 16.000) | 8.00 "
        "| 0.500, 0.400 |  | 2.0 | 3 |",
        "Not measured: `exact` before 2^22, expected 9 seconds, at most 2.",
        "| ms (x LSTMCell loop) | N | T = 1 | T = 10 | T = 100 |",
        "| NTM | 2^7 | 10.000 (10.00) | 10.000 (10.00) |  |",
    ):
        assert part in tables
    assert tables.count("2 threads, torch 9.9, 2001-02-03.") == 5


def test_the_figure_shows_every_line(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = pytest.importorskip("matplotlib.figure")
    kept: list[Any] = []
    before = figures.Figure.savefig
    monkeypatch.setattr(
        figures.Figure, "savefig", lambda self, *a, **k: (kept.append(self), before(self, *a, **k))
    )
    plot_sweep(Sweep(results), results / "new" / "figure.png")
    assert (results / "new" / "figure.png").read_bytes()[:4] == b"\x89PNG"
    left, right = kept[0].axes
    labels = {text.get_text() for text in kept[0].legends[0].get_texts()}
    for label in ("NTM", "DAM", "DNC", "SDNC", "SAM, LSH", "nn.LSTM", "nn.LSTMCell loop"):
        assert label in labels
    assert {"SAM, whole sequence", "SAM, stepwise", "SAM, inverted lists, full"} < labels
    assert [axes.get_xscale() for axes in (left, right)] == ["log", "log"]
    assert [axes.get_yscale() for axes in (left, right)] == ["log", "log"]
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in (left, right))
    of_label = {line.get_label(): line for line in left.get_lines()}
    ntm = of_label["NTM"]
    assert [*ntm.get_xdata()] == [64, 256] and [*ntm.get_ydata()] == pytest.approx([10, 46])
    dashed = {label for label, line in of_label.items() if line.get_linestyle() == "--"}
    assert dashed == {f"SAM, {name}, full" for name in ("exact", "LSH", "inverted lists", "FAISS")}
    # Full memories have no line of their own among the bytes.
    assert len(right.get_lines()) == len(labels) - len(dashed) - 2
