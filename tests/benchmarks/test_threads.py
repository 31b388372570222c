"""The benchmark of threads: what it measures, its file and its table."""

import json

import pytest
import torch

from benchmarks import threads as script
from benchmarks.report import fill
from benchmarks.threads import Case, cases, main, with_threads
from benchmarks.workload import Workload
from tests.torch_threads import threads

pytestmark = pytest.mark.timeout(600)  # it compiles


def test_a_turn_has_the_threads_it_is_to_have():
    thing = Workload(batch_size=2, steps=3, hidden_size=5).nn_lstm()
    seen, phases = [], []
    run = thing.run
    thing.run = lambda: (seen.append(torch.get_num_threads()), run())[1]
    with threads(1):
        with_threads(3, thing)(phases.append)
    assert seen == [3, 3]
    assert phases == ["before", "forward", "backward"]
    assert all(parameter.grad is None for parameter in thing.model.parameters())


def test_the_script_writes_a_file_and_a_table(monkeypatch, tmp_path):
    case = Case("sam", 2, 6)
    assert case not in {*cases(quick=False)} and len({*cases(quick=False)}) == 12
    monkeypatch.setattr(script, "cases", lambda quick: [case])
    lines = []
    with threads(1):
        main(["--rounds", "2", "--threads", "3", "--out", str(tmp_path)], lines.append)
    results = json.loads((tmp_path / "threads.json").read_text())
    (found,) = results["cases"]
    assert results["threads"] == 3 and found["aim"] is None
    assert found["speed"]["low"] > 0 and found["lstm"]["low"] > 0
    assert "times as fast" in lines[0]
    table = fill("<!-- table: threads -->\n<!-- end -->", tmp_path)
    assert "3 threads" in table and "| SAM | 2 | 6 |" in table
