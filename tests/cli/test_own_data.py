"""Three new users: a series, a text and labelled sequences of their own, one command each.

And a fourth, who writes a task.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sam.cli import USER_ERROR, main
from sam.errors import ConfigError
from sam.tasks import task_registry
from sam.train import load_run, sample_text
from tests.tasks.own_files import (
    SENTENCES,
    write_sequence_table,
    write_sequences,
    write_series,
    write_text,
)

PAGE = Path(__file__).parents[2] / "docs" / "own_task.md"
SMALL = [
    *("--model.hidden-size", "32", "--model.memory-size", "64", "--model.word-size", "8"),
    *("--train.batch-size", "8", "--optimizer.lr", "1e-2", "--optimizer.warmup", "5"),
    *("--eval.count", "16"),
]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forgets the tasks that a test registers."""
    monkeypatch.setattr(task_registry, "_TASKS", dict(task_registry._TASKS))
    yield


def summary(run: str) -> dict:
    return json.loads(Path(run, "summary.json").read_text())


def run_well(*arguments: str) -> None:
    assert main([*arguments]) == 0


def test_a_series(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_series(tmp_path / "my.csv")
    command = ["train", "series", "--task.path", "my.csv", "--task.length", "10", *SMALL]
    run_well(*command, "--train.max-updates", "60", "--train.evaluate-every", "30")
    found = summary("runs/series-1")
    assert found["error_unit"] == "root mean squared error"
    # The last values alone would give an error of about .33 standard deviations.
    assert found["final_error"] < 0.6
    assert found["evaluation"][0]["loss"] < 0.05
    told = capsys.readouterr().out
    assert "loss on validation, the best so far" in told and "root mean squared error" in told
    run_well("eval", "runs/series-1")
    run_well("plot", "runs/series-1")


def test_a_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_text(tmp_path / "my.txt")
    command = ["train", "text", "--task.path", "my.txt", "--task.length", "20", *SMALL]
    run_well(*command, "--task.held-out", "0.1", "--train.max-updates", "80")
    found = summary("runs/text-1")
    assert found["error_unit"] == "bits per token"
    assert found["evaluation"][0]["loss"] < 2  # of more than 4 bits for characters alone
    assert "perplexity" in capsys.readouterr().out
    run_well("sample", "runs/text-1", "--prompt", "the cat", "--length", "40")
    written = capsys.readouterr().out.rstrip("\n")
    assert written.startswith("the cat") and len(written) == 47
    assert set(written) <= set("".join(SENTENCES))
    run_well("sample", "runs/text-1", "--prompt", "the cat", "--length", "40")
    assert capsys.readouterr().out.rstrip("\n") == written
    config, model, _ = load_run(Path("runs/text-1"))
    likeliest = sample_text(model, config.task, "the c", length=20, temperature=0)
    assert likeliest == sample_text(model, config.task, "the c", length=20, temperature=0, seed=1)
    assert sample_text(model, config.task, "the c", length=0) == ""
    cold = sample_text(model, config.task, "the c", length=20, temperature=1e-40)
    assert cold == likeliest
    with pytest.raises(ConfigError, match="seed: expected at most"):
        sample_text(model, config.task, "the c", seed=2**64)


def test_data_that_have_moved(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_series(tmp_path / "my.csv")
    short = [*SMALL, "--task.length", "10", "--train.max-updates", "2"]
    run_well("train", "series", "--task.path", "my.csv", *short, "--run", "a folder")
    path.rename(tmp_path / "moved.csv")
    capsys.readouterr()
    assert main(["eval", "a folder"]) == USER_ERROR
    assert f"got my.csv, which does not exist in {tmp_path}" in capsys.readouterr().err
    config = tmp_path / "a folder" / "config.toml"
    config.write_text(config.read_text().replace("my.csv", "moved.csv"))
    run_well("eval", "a folder")
    # The rate of the recipe falls until the end, which is said.
    more = ["train", "--resume", "a folder", "--train.max-updates", "4"]
    assert main(more) == USER_ERROR
    assert "the learning rate falls until there" in capsys.readouterr().err


@pytest.mark.parametrize("write", [write_sequences, write_sequence_table])
def test_labelled_sequences(
    tmp_path: Path, write: object, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "mine")  # type: ignore[operator]
    run_well("train", "sequences", "--task.path", "mine", *SMALL, "--train.max-updates", "60")
    found = summary("runs/sequences-1")
    assert [result["value"] for result in found["evaluation"]] == [0, 1]
    assert sum(result["wrong"] for result in found["evaluation"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in told if line.startswith(("label", "down", "up "))] == [
        *("label", "down", "up")
    ]
    run_well("eval", "runs/sequences-1", "runs/sequences-1/.")
    assert "label down  label up" in capsys.readouterr().out


def test_a_task_is_begun_with_a_file_that_works(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_well("new-task", "two_waves")
    told = capsys.readouterr().out.splitlines()
    assert told == ["two_waves.py", "sparse-sam train two_waves --import two_waves.py"]
    text = Path("two_waves.py").read_text()
    assert "class TwoWaves(DataTask)" in text and "TASK_NAME" not in text
    run_well(*told[1].split()[1:], *SMALL, "--train.max-updates", "30", "--task.length", "12")
    assert f'"{tmp_path / "two_waves.py"}"' in Path("runs/two_waves-1/config.toml").read_text()
    run_well("eval", "runs/two_waves-1", "--count", "4")
    run_well("train", "--resume", "runs/two_waves-1", "--train.max-updates", "31")
    run_well("info", "two_waves", "--import", "two_waves.py")
    assert "length = 20" in capsys.readouterr().out


def test_the_guide_does_what_it_says(tmp_path: Path) -> None:
    text = PAGE.read_text(encoding="utf-8")
    code = re.search(r"```python\n# averages\.py\n(.*?)```", text, re.DOTALL)
    assert code is not None and len(code[1].splitlines()) < 30
    (tmp_path / "averages.py").write_text(code[1])
    line = re.search(r"^python -m sam (train averages .*)$", text, re.MULTILINE)
    assert line is not None
    run_well(*line[1].split(), *SMALL, "--train.max-updates", "3")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "series"], "task.path: expected the CSV file of a series, got none"),
        (["train", "text", "--task.path", "no.txt"], "got no.txt, which does not exist"),
        (["train", "copy", "--import", "nothing.py"], "nothing.py, which does not exist"),
        (["train", "copy", "--import"], "--import: expected a module or a file, got none"),
        (["new-task", "two-waves"], "expected a name of letters"),
        (["new-task", "copy"], "'copy', which is a task already"),
        (["new-task", "there"], "there.py, which exists"),
        (["sample", "none", "--prompt", "a"], "none"),
        (["sample", "none"], "--prompt"),
        (["train", "copy", "--train.patience", "2"], "expected train.evaluate_every as well"),
        (["train", "copy", "--optimizer.schedule", "step"], "invalid choice 'step'"),
    ],
)
def test_a_mistake_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.py").write_text("mine")
    assert main(arguments) == USER_ERROR
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["there.py"]


def test_only_text_is_written(capsys: pytest.CaptureFixture[str]) -> None:
    from tests.cli.tiny import train

    assert train("--run", "a") == 0
    assert main(["sample", "a", "--prompt", "b"]) == USER_ERROR
    assert "expected a run on a task of text, such as 'text', got one on 'copy'" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["series", "text", "sequences"])
def test_info_describes_recipes_without_data(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    run_well("info", name)
    assert "follows from the data" in capsys.readouterr().out
