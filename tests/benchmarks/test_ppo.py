"""The benchmark of agents writes down where each run came to."""

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import ppo


def test_writes_runs_and_their_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gymnasium", "popgym"):
        pytest.importorskip(name, reason=f"needs {name}, of the extra rl")
    example = importlib.import_module("examples.ppo")
    curve = [example.Point(n, 100 * n, 2.0 * n, n / 20) for n in range(1, 20)]
    monkeypatch.setattr(example, "train", lambda settings, minutes: curve)
    ppo.main(["--seeds", "3", "4", "--models", "gru", "--out", str(tmp_path)])
    written: dict[str, Any] = json.loads((tmp_path / "ppo.json").read_text())
    assert [run["seed"] for run in written["runs"]] == [3, 4]
    run = written["runs"][0]
    assert run["goal_reached"]["update"] == 18
    assert run["last"]["frames"] == 1900
    assert [point["update"] for point in run["curve"]] == [5, 10, 15]
    assert "seed" not in written["settings"]
    assert "| GRU | " in capsys.readouterr().out
