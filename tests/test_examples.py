"""The examples are short and do what they say."""

import runpy
from pathlib import Path
from typing import Any

import pytest

from sam.tasks import task_registry

FOLDER = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(FOLDER.glob("*.py"))


def main_of(name: str) -> Any:
    """`main` of an example, not yet called."""
    return runpy.run_path(str(FOLDER / name))["main"]


SHORT = ["edit_facts.py", "index_alone.py", "own_memory.py", "own_task.py"]


def test_there_are_four_short_ones_and_an_agent() -> None:
    assert sorted([*SHORT, "ppo.py"]) == [path.name for path in SCRIPTS]
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) < (75 if path.name in SHORT else 260)
        assert f"    python examples/{path.name}" in text


def test_a_task_of_ones_own_trains_a_sam(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_registry, "_TASKS", dict(task_registry._TASKS))
    outcome = main_of("own_task.py")(updates=20)
    assert outcome.progress.update == 20 and 0 < outcome.window_error < 7


def test_an_index_is_used_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_of("index_alone.py")() > 0.9
    assert "[9999, 0] words" in capsys.readouterr().out


def test_facts_are_edited_rolled_back_and_merged(capsys: pytest.CaptureFixture[str]) -> None:
    told = main_of("edit_facts.py")()
    assert told == ["Bonn", "Berlin", "Bonn", "Berlin", "Canberra"]
    assert "words of a base of 4" in capsys.readouterr().out


def test_a_memory_of_ones_own_learns() -> None:
    losses = main_of("own_memory.py")(updates=100)
    assert sum(losses[-10:]) / 10 < 0.9 * losses[0]


@pytest.mark.parametrize("model", ["sam", "gru"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_an_agent_plays_and_learns(model: str) -> None:
    for name in ("gymnasium", "popgym"):
        pytest.importorskip(name, reason=f"needs {name}, of the extra rl")
    names = runpy.run_path(str(FOLDER / "ppo.py"))
    settings = names["Settings"](model=model, envs=4, rows=2, steps=60, segment=20, epochs=1)
    curve = names["train"](settings, updates=2)
    assert [point.frames for point in curve] == [240, 480]
    assert 0 < curve[-1].hit_rate < 1
