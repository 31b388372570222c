"""The benchmark of updates: its parts, their sum, its table."""

import json

import pytest
import torch

from benchmarks.report import fill
from benchmarks.step.updates import OUTSIDE, PARTS, main, measure


@pytest.fixture(autouse=True)
def threads():
    """The script sets the threads of the process."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_the_parts_are_those_of_an_update():
    found = measure("copy", updates=3)
    seconds = found["seconds"]
    assert found["updates"] == 3
    assert {*seconds} == {"all", "data", "rest", *PARTS}
    assert min(seconds.values()) > 0
    assert sum(seconds.values()) == pytest.approx(2 * seconds["all"])
    assert found["outside"] * seconds["all"] == pytest.approx(sum(seconds[n] for n in OUTSIDE))


def test_the_script_writes_a_table(tmp_path):
    lines = []
    main(["--recipes", "copy", "--updates", "2", "--out", str(tmp_path)], lines.append)
    found = json.loads((tmp_path / "updates.json").read_text())
    assert [case["recipe"] for case in found["cases"]] == ["copy"]
    assert len(lines) == 2 and "copy, batch 8" in lines[0]
    assert "| `copy` | 8 |" in fill("<!-- table: updates -->\n<!-- end -->", tmp_path)
