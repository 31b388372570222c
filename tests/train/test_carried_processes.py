"""Two processes that carry states on, each its own rows: broken off and resumed, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam.train.lines import read_metrics
from sam.train.run import train_run
from sam.train.settings import resolve
from tests.processes import in_processes
from tests.train.conftest import tiny_tables
from tests.train.together import train_carried

pytestmark = [
    pytest.mark.timeout(400),
    pytest.mark.skipif(not torch.distributed.is_available(), reason="needs torch.distributed"),
]


def test_carried_states_of_two_processes(
    tmp_path: Path, assert_equal_runs: Callable[[Path, Path], None]
) -> None:
    text = tmp_path / "text.txt"
    text.write_text("one fish two fish red fish blue fish. " * 12)
    tables = tiny_tables()
    tables["task"] = {"name": "text", "path": str(text), "length": 7, "held_out": 0.1}
    tables["eval"] |= {"levels": [1]}
    tables["optimizer"] = {"name": "adamw", "schedule": "linear", "warmup": 2}
    tables["train"] |= {"accumulate": 2, "ema": 0.5, "evaluate_every": 4, "keep_best": True}
    train_run(resolve(tables), tmp_path / "alone")  # what must be compiled is compiled once
    assert in_processes(2, train_carried, tables, tmp_path) == [0, 0]
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    alone, whole = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("alone", "whole"))
    for ours, theirs in zip(alone, whole, strict=True):
        if "loss" in ours:
            assert theirs == pytest.approx(ours, rel=1e-3)
