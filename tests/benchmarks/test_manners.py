"""The table of manners says what happens."""

import json
from pathlib import Path

import pytest

from benchmarks.harness import RESULTS
from benchmarks.manners.__main__ import HABITS, main, outcome
from benchmarks.manners.subject import MODELS, Habit
from benchmarks.report import fill
from benchmarks.tables.manners_table import FILE

PAGE = Path(__file__).parents[2] / "docs" / "lstm_manners.md"
WRITTEN = {row["habit"]: row for row in json.loads((RESULTS / FILE).read_text())["habits"]}


def test_the_page_has_the_table_of_the_file_and_the_file_all_habits() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert fill(text) == text
    assert [*WRITTEN] == [habit.what for habit in HABITS]
    assert [row["note"] for row in WRITTEN.values()] == [habit.note for habit in HABITS]


@pytest.mark.parametrize("habit", HABITS, ids=lambda habit: habit.what)
def test_a_habit_is_as_it_is_written(habit: Habit) -> None:
    """Of nn.LSTM it depends on torch and the processor, as float16 does."""
    for name in MODELS:
        if name == "lstm" and habit.what == "`.half()`":
            continue
        found, written = outcome(habit, name), WRITTEN[habit.what]["outcomes"][name]
        assert found == written


def test_a_refusal_is_one_sentence_that_says_what_was_expected() -> None:
    for row in WRITTEN.values():
        for name, text in row["outcomes"].items():
            if text not in ("yes", "no"):
                assert "\n" not in text and ": expected " in text and name != "nn.LSTM", text


def test_an_error_that_is_no_refusal_is_not_taken_for_one() -> None:
    def broken(subject: object) -> None:
        raise RuntimeError("torch has lost its way")

    with pytest.raises(RuntimeError, match="lost its way"):
        outcome(Habit("nothing", broken), "sam")
    assert outcome(Habit("nothing", broken), "nn.LSTM") == "no"


def test_script_writes_all_that_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.manners.__main__.HABITS", HABITS[:2])
    main(["--out", str(tmp_path)])
    assert len(json.loads((tmp_path / FILE).read_text())["habits"]) == 2
    assert "| a batch of 0 | yes | yes | yes | yes |  |" in capsys.readouterr().out
