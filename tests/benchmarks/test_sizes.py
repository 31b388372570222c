"""The benchmark of sizes: what it measures, its table, its figure, and the roofline."""

import json
from dataclasses import replace

import pytest
import torch

from benchmarks import sizes
from benchmarks.harness import machine
from benchmarks.report import fill
from benchmarks.roofline import Rates, measure_rates, work_of
from benchmarks.sizes import AIMS, LINKED_AIMS, Case, cases, linked_cases, main
from benchmarks.workload import Workload

NAMES = sizes.names(machine()["processor"])


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_cases_are_the_aims_and_a_grid():
    quick, every = [*cases(True)], [*cases(False)]
    assert [case[:2] for case in quick] == [*AIMS]
    assert len({*every}) == len(every) and {*quick} < {*every}
    assert {case.steps for case in every} == {1, 10, 50, 100, 500}
    assert {1, 256} <= {case.batch_size for case in every}


def test_cases_of_an_sdnc_are_its_aims():
    quick, every = [*linked_cases(True)], [*linked_cases(False)]
    assert [case[:2] for case in quick] == [*LINKED_AIMS] and {*quick} < {*every}
    assert {case.model for case in every} == {"sdnc"}


def test_an_sdnc_has_rows_of_its_own(monkeypatch, tmp_path):
    """Beside those of a SAM, also of results that do not say which model they are of."""
    monkeypatch.setattr(sizes, "measure_rates", lambda: Rates(1e9, 1e9))
    monkeypatch.setattr(sizes, "cases", lambda quick: [Case(1, 4, 50)])
    monkeypatch.setattr(sizes, "linked_cases", lambda quick: [Case(1, 4, 50, "sdnc")])
    monkeypatch.setattr(sizes, "LINKED_AIMS", {(1, 4): 2.0})
    given = ["--rounds", "1", "--out", str(tmp_path)]
    main(given, print)
    file = tmp_path / NAMES[0]
    first = json.loads(file.read_text())
    del first["cases"][0]["model"]
    file.write_text(json.dumps(first))
    lines = []
    main(["--model", "sdnc", "--add", *given], lines.append)
    found = json.loads(file.read_text())["cases"]
    assert found[0] == first["cases"][0] and found[1]["model"] == "sdnc"
    assert found[1]["aim"] == 2.0 and lines[0].startswith("sdnc, batch   1") and len(lines) == 2
    table = fill("<!-- table: sizes -->\n<!-- end -->", tmp_path)
    assert "| SAM | 1 | 4 | 50 |" in table and "| SDNC | 1 | 4 | 50 |" in table


def test_the_script_writes_a_table_and_a_figure(monkeypatch, tmp_path):
    monkeypatch.setattr(sizes, "AIMS", {(1, 4): 0.5, (2, 4): 0.5})
    monkeypatch.setattr(sizes, "measure_rates", lambda: Rates(1e9, 1e9))
    lines = []
    main(["--quick", "--rounds", "1", "--out", str(tmp_path)], lines.append)
    found = json.loads((tmp_path / NAMES[0]).read_text())
    assert [case["batch_size"] for case in found["cases"]] == [1, 2]
    for case in found["cases"]:
        assert {*case["to_loop"]} == {"sequence", "step", "plain", "lstm"}
        assert case["least_to_loop"] > 0
    assert len(lines) == 3 and "aim 0.5" in lines[0]
    assert (tmp_path / NAMES[1]).stat().st_size > 1000
    table = fill("<!-- table: sizes -->\n<!-- end -->", tmp_path)
    assert "| 1 | 4 | 50 |" in table and "of 2. At best" in table


def test_cases_are_added_to_those_in_the_file(monkeypatch, tmp_path):
    monkeypatch.setattr(sizes, "AIMS", {(1, 4): 0.5, (2, 4): 0.5})
    monkeypatch.setattr(sizes, "measure_rates", lambda: Rates(1e9, 1e9))
    main(["--quick", "--rounds", "2", "--out", str(tmp_path)], print)
    file = tmp_path / NAMES[0]
    first = json.loads(file.read_text())
    first["cases"][1] |= {"date": "2001-02-03", "steps": 100}
    file.write_text(json.dumps(first))
    monkeypatch.setattr(sizes, "cases", lambda quick: [Case(1, 4, 50), Case(1, 4, 60)])
    main(["--steps", "50", "--rounds", "1", "--add", "--out", str(tmp_path)], print)
    found = json.loads(file.read_text())
    told = [(one["batch_size"], one["steps"], one["rounds"]) for one in found["cases"]]
    assert told == [(1, 50, 1), (2, 100, 2)]
    assert found["cases"][1] == first["cases"][1]
    table = fill("<!-- table: sizes -->\n<!-- end -->", tmp_path)
    assert "| measured |" in table and "| 2001-02-03 |" in table and "of 1 rounds or more" in table


def test_each_maker_of_processors_has_a_table(tmp_path, monkeypatch):
    assert sizes.names("Intel(R) Xeon(R) Processor") == ("sizes_intel.json", "sizes_intel.png")
    assert sizes.names("")[0] == "sizes_other.json"
    monkeypatch.setattr(sizes, "measure_rates", lambda: Rates(1e9, 1e9))
    monkeypatch.setattr(sizes, "cases", lambda quick: [Case(1, 4, 50)])
    main(["--rounds", "1", "--out", str(tmp_path)], print)
    found = json.loads((tmp_path / NAMES[0]).read_text())
    found["machine"]["processor"] = "Other than this"
    (tmp_path / "sizes_zebra.json").write_text(json.dumps(found))
    table = fill("<!-- table: sizes -->\n<!-- end -->", tmp_path)
    assert table.count("| 1 | 4 | 50 |") == 2 and "Other than this" in table


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--steps", "7"], "--steps: expected a length that is measured, got [7]"),
        (["--add"], "--add: expected results to add to, got no file"),
        (["--add", "--threads", "2"], "--threads: expected 1 as in"),
    ],
)
def test_what_cannot_be_measured_or_added_is_refused_in_a_line(options, told, tmp_path, capsys):
    if "--threads" in options:
        (tmp_path / NAMES[0]).write_text('{"threads": 1}')
    with pytest.raises(SystemExit) as stopped:
        main([*options, "--quick", "--out", str(tmp_path)])
    assert stopped.value.code == 2
    assert told in capsys.readouterr().err


def test_the_roofline_grows_with_what_costs():
    load = Workload()
    wide, large = replace(load, hidden_size=200), replace(load, batch_size=16)
    long = replace(load, steps=200)
    work = work_of(load)
    assert work_of(wide).flops > 2 * work.flops
    assert work_of(large).flops == work.flops and work_of(large).bytes < work.bytes
    assert work_of(long).flops > work.flops and work_of(long).bytes > work.bytes
    # An SDNC has fewer controls and words to search, and keeps more.
    assert work_of(load, "sdnc").flops < work.flops
    short = replace(load, steps=1, batch_size=1000)
    assert work_of(short, "sdnc").bytes > work_of(short).bytes
    # An LSTM of 100 units on 136 numbers, forward and backward, is most of it.
    assert 6 * 400 * 236 < work.flops < 2 * 6 * 400 * 236
    assert work.least_seconds(Rates(work.flops, 1e30)) == pytest.approx(1)
    assert work.least_seconds(Rates(1e30, work.bytes)) == pytest.approx(1)


def test_rates_are_measured():
    assert min(measure_rates(size=8, megabytes=1, rounds=1)) > 0
