"""The benchmark of starts: what it measures, its file and its table."""

import json

import pytest
import torch

from benchmarks import starts
from benchmarks.report import fill
from benchmarks.starts import Case, cases, main, measure, starts_at, with_starts
from benchmarks.workload import Workload

pytestmark = pytest.mark.timeout(600)  # it compiles
SMALL = Workload(batch_size=2, steps=8, hidden_size=10, num_heads=2, word_size=8)


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_as_many_rows_begin_as_the_share_says():
    for share, count in ((0.0, 0), (0.01, 4), (0.1, 40)):
        assert starts_at(share, 50, 8).sum() == count
    assert starts_at(0.1, 50, 8).equal(starts_at(0.1, 50, 8))


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_both_forms_compute_the_same(name):
    losses = [with_starts(SMALL, name, 0.2, cut=cut).loss() for cut in (False, True)]
    torch.testing.assert_close(*losses)
    assert losses[0] != with_starts(SMALL, name, None).loss()


def test_the_script_writes_a_file_and_a_table(monkeypatch, tmp_path):
    case = Case("sam", 2, 6)
    assert case not in {*cases(quick=False)} and len({*cases(quick=False)}) == 8
    monkeypatch.setattr(starts, "SHARES", (0.0, 0.25))
    monkeypatch.setattr(starts, "cases", lambda quick: [case])
    lines = []
    main(["--rounds", "1", "--out", str(tmp_path)], lines.append)
    (found,) = json.loads((tmp_path / "starts.json").read_text())["cases"]
    assert [each["share"] for each in found["shares"]] == [0.0, 0.25]
    assert [each["stretches"] > 1 for each in found["shares"]] == [False, True]
    assert "25 %" in lines[0]
    table = fill("<!-- table: starts -->\n<!-- end -->", tmp_path)
    assert "| SAM | 2 | 6 |" in table and "| 25 % |" in table


def test_times_are_those_of_a_call_without_starts():
    found = measure(Case("sam", 2, 6), rounds=2)
    for each in found["shares"]:
        assert each["one"].median > 0 and each["cut"].median > 0
