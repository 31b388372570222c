"""Several seeds of one recipe end up in one record."""

import json
import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.learning import many_steps, tried, validated
from benchmarks.learning.__main__ import RECIPES, collect, main, recipe_file
from benchmarks.learning.finished import CHECKPOINTS
from benchmarks.learning.slices import by_level
from sam import cli
from sam.errors import CheckpointError, DataMissingError
from sam.models import model_registry
from sam.tasks.babi import BAbI
from sam.train.checkpoint import load_checkpoint
from sam.train.evaluate import evaluate
from sam.train.folder import load_run, read_config
from sam.train.lines import read_metrics
from sam.train.names import METRICS
from sam.train.plan import plan
from sam.train.run import train_run

TINY = shlex.split(
    "--model.hidden-size 8 --model.memory-size 32 --model.word-size 4 --model.num-heads 2 "
    "--model.top-k 2 --task.max-length 2 --train.max-updates 2 --train.batch-size 2 "
    "--eval.levels 1 2 --eval.count 2"
)


def test_seeds_are_trained_and_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    arguments = ["copy", "--seeds", "3", "5", "--name", "tiny", "--out", "results", *TINY]
    assert main(arguments) == 0
    assert [path.name for path in Path("results").iterdir()] == ["learning_tiny.json"]
    results = json.loads(Path("results/learning_tiny.json").read_text())
    assert results["recipe"] == "copy"
    assert results["overrides"] == TINY
    assert results["command"].startswith("python -m benchmarks.learning copy --seeds 3 5")
    assert "results" not in results["command"], "where it lies is nobody's business"
    assert results["paper"] == "SAM: curve only (fig. 2)"
    assert (results["task"], results["model"], results["threads"]) == ("copy", "sam", 1)
    assert results["solved"] == 0
    first, second = results["runs"]
    assert (first["seed"], second["seed"]) == (3, 5)
    assert first["updates"] == 2
    assert first["index_recall"] is None
    assert first["final_error"] != second["final_error"]
    assert [entry["value"] for entry in first["evaluation"]] == [1, 2]
    assert [entry["value"] for entry in first["memory_off"]] == [1, 2]
    assert first["memory_off"] != first["evaluation"]
    assert "level" not in first and "long" not in first
    for seed in (3, 5):
        folder = Path(f"runs/learning/tiny/seed-{seed}")
        assert json.loads((folder / "summary.json").read_text())["seed"] == seed

    # Runs that have ended are not repeated; one that was broken off goes on; a third seed is new.
    Path("runs/learning/tiny/seed-5/summary.json").unlink()
    capsys.readouterr()
    assert main([*arguments[:4], "7", *arguments[4:]]) == 0
    trained = capsys.readouterr().out
    assert "seed-3" not in trained
    assert "seed-5" in trained and "seed-7" in trained
    again = json.loads(Path("results/learning_tiny.json").read_text())
    assert [run["seed"] for run in again["runs"]] == [3, 5, 7]
    assert again["runs"][0] == first
    assert again["runs"][1]["final_error"] == second["final_error"]

    # A summary that is none is told in a line.
    path = Path("runs/learning/tiny/seed-3/summary.json")
    for content in (path.read_text().replace('"updates": 2', '"updates": "2"'), "[1]", "{"):
        path.write_text(content)
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert "summary.json: " in error and error.count("\n") == 1
    path.unlink()
    assert main(arguments) == 0
    capsys.readouterr()

    # Runs of other settings are not mixed in, and the record stays as it was.
    before = Path("results/learning_tiny.json").read_bytes()
    assert main([*arguments, "--optimizer.lr", "0.5"]) == 1
    assert "seed-3: expected a run with" in capsys.readouterr().err
    assert Path("results/learning_tiny.json").read_bytes() == before


def test_what_is_told_by_two_things_is_not_mixed() -> None:
    lengths = [{"name": "length", "value": value} for value in (1, 5)]
    repeats = [{"name": "repeats", "value": value} for value in (1, 5)]
    assert by_level([*lengths, *repeats]) == lengths
    assert by_level([]) == []


def test_a_mistyped_setting_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    assert main(["copy", "--seeds", "0", "--model.memry-size", "8", "--out", "results"]) == 1
    assert "memory" in capsys.readouterr().err
    assert not list(tmp_path.rglob("*.json"))


def test_the_recall_of_an_approximate_index_is_collected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    rough = ["--index", "lsh", "--index.tables", "1", "--index.probes", "1"]
    often = ["--train.log-every", "1"]
    assert main(["copy", "--seeds", "1", "--out", "results", *TINY, *rough, *often]) == 0
    (found,) = json.loads(Path("results/learning_copy.json").read_text())["runs"]
    lines = Path("runs/learning/copy/seed-1/metrics.jsonl").read_text().splitlines()
    recalls = [json.loads(line)["index_recall"] for line in lines]
    assert len(recalls) == 2
    assert found["index_recall"] == pytest.approx(sum(recalls) / 2)
    assert 0 < found["index_recall"] < 1


def summary(seed: int, **changes: object) -> dict:
    return {
        "seed": seed,
        "solved": seed > 0,
        "updates": 10,
        "seconds": 1.0,
        "final_error": 0.1,
        "index_recall": None,
        "evaluation": [],
        "task": "copy",
        "model": "sam",
        "parameters": 7,
        "error_unit": "wrong bits per sequence",
        "threads": 1,
    } | changes


def test_solved_seeds_are_counted() -> None:
    assert collect([summary(0), summary(1), summary(2)])["solved"] == 2


@pytest.mark.parametrize(
    ("summaries", "message"),
    [([], "at least one"), ([summary(0), summary(1, model="lstm")], "seed 1 with another model")],
)
def test_runs_that_do_not_belong_together_are_refused(summaries: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        collect(summaries)


def test_a_curriculum_with_long_levels_and_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("benchmarks.learning.__main__.CHECKPOINTS", Path("checkpoints"))
    arguments = ["key_value_recall", "--seeds", "1", "2", "--runs", "here", "--out", "results"]
    arguments += ["--long", "9", "--long-count", "3", "--checkpoint", "--name", "tiny", *TINY]
    arguments[arguments.index("--task.max-length")] = "--task.max-pairs"
    arguments[arguments.index("--task.max-pairs") + 1] = "12"
    arguments += shlex.split(
        "--curriculum.enabled --curriculum.threshold 99 --curriculum.window 1 "
        "--curriculum.min-hard 1 --train.ema 0.5 --train.fall-back-above 1"
    )
    assert main(arguments) == 0
    text = Path("results/learning_tiny.json").read_text()
    assert "here" not in text
    results = json.loads(text)
    assert results["paper"] == "SAM: beyond level 4,000 (fig. 3)"
    for run in results["runs"]:
        assert run["level"] in (6, 12)
        assert [(one["value"], one["sequences"]) for one in run["long"]] == [(9, 3)]

    folder = Path("checkpoints/tiny")
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "config.toml", "eval.json"}
    kept = load_checkpoint(folder / "checkpoint.pt")
    assert kept.average is None and kept.fall_back is None and not kept.optimizer["state"]
    expected = json.loads((folder / "eval.json").read_text())
    assert cli.main(["eval", str(folder)]) == 0
    assert json.loads((folder / "eval.json").read_text()) == expected
    best = min(results["runs"], key=lambda run: -run["evaluation"][-1]["accuracy"])
    assert expected["results"] == best["evaluation"] and expected["seed"] == best["seed"]
    with pytest.raises(CheckpointError, match="average: expected"):
        train_run(read_config(folder), folder, resume=True)


def test_every_kept_checkpoint_repeats_its_numbers() -> None:
    """At the first level or task alone; `python -m sam eval` does all of them.

    One of a data set that is not there is left out.
    """
    for folder in sorted(CHECKPOINTS.glob("*")):
        assert sum(path.stat().st_size for path in folder.iterdir()) < 2 * 10**6
        expected = json.loads((folder / "eval.json").read_text())
        config, model, progress = load_run(folder)
        assert (progress.update, config.train.seed) == (expected["update"], expected["seed"])
        task, first = config.task, expected["results"][0]["value"]
        count, batch_size = config.eval.count, config.eval.batch_size
        given = {"levels": (first,), "count": count, "batch_size": batch_size}
        if isinstance(task, BAbI):  # which has no levels
            task, given["levels"] = replace(task, tasks=(first,)), ()
        try:
            found, *_ = evaluate(model, task, seed=config.train.seed, **given)
        except DataMissingError:
            continue
        assert (found.name, found.value) == (expected["results"][0]["name"], first)
        assert found.accuracy == expected["results"][0]["accuracy"]


def test_recipes_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    # One recipe registers a model, which is no model of the library.
    monkeypatch.setattr(model_registry, "_MODELS", {**model_registry._MODELS})
    assert recipe_file("copy") == "copy" and recipe_file("my.toml") == "my.toml"
    for path in RECIPES.glob("*.toml"):
        assert recipe_file(path.stem) == str(path)
        plan(str(path), [], prog="test")


def test_what_was_tried_is_told_by_what_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    for name, more in (("a", []), ("b", ["--optimizer.lr", "0.5", "--train.seed", "3"])):
        assert cli.main(["train", "copy", "--run", f"runs/{name}", *TINY, *more]) == 0
    assert tried.main(["some", "runs/a", "runs/b", "--out", "."]) == 0
    found = json.loads(Path("tried_some.json").read_text())
    assert [one["settings"] for one in found["tried"]] == [{}, {"optimizer.lr": 0.5}]
    assert [one["seed"] for one in found["tried"]] == [0, 3]
    assert found["command"] == "python -m benchmarks.learning.tried some a b"
    capsys.readouterr()
    assert tried.main(["some", "runs/c", "--out", "."]) == 1
    assert "runs/c: expected the folder of a run" in capsys.readouterr().err


def test_errors_on_the_way_are_those_of_the_evaluations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    more = ["--train.evaluate-every", "1", "--train.accumulate", "3"]
    assert cli.main(["train", "copy", "--run", "runs/first/seed-0", *TINY, *more]) == 0
    assert validated.main(["some", "runs/first/seed-0", "--out", "."]) == 0
    found = json.loads(Path("validated_some.json").read_text())
    (run,) = found["runs"]
    assert (run["run"], run["seed"]) == ("first", 0)
    told = [(one["update"], one["sequences"]) for one in run["evaluations"]]
    assert told == [(1, 6), (2, 12)]
    last = read_metrics(Path("runs/first/seed-0") / METRICS)[-1]["evaluation"]
    wrong = run["evaluations"][-1]["wrong"]
    assert wrong == {f"length {one['value']}": 1 - one["accuracy"] for one in last}
    assert found["command"] == "python -m benchmarks.learning.validated some first"
    capsys.readouterr()
    assert validated.main(["some", "runs/c", "--out", "."]) == 1
    assert "runs/c: expected the folder of a run" in capsys.readouterr().err


def test_many_steps_are_taken_part_by_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tyro")
    monkeypatch.chdir(tmp_path)
    tiny = [word.replace("max-length", "max-distance") for word in TINY]
    assert cli.main(["train", "needle", "--run", "runs/a", *tiny, "--task.part", "10"]) == 0
    assert many_steps.main(["runs/a", "--levels", "4", "50", "--count", "3", "--out", "."]) == 0
    found = json.loads(Path("steps_a.json").read_text())
    assert found["command"].endswith("benchmarks/checkpoints/a --levels 4 50 --count 3")
    config, model, _ = load_run(Path("runs/a"))
    for record, level in zip(found["levels"], (4, 50), strict=True):
        (same,) = evaluate(model, config.task, levels=(level,), count=3, batch_size=3)
        assert (record["wrong"], record["solved"]) == (same.wrong, same.solved)
        assert record["accuracy"] == pytest.approx(same.accuracy)
        assert record["steps"] in range(level + 3, level + 12)
        assert record["state_bytes"] > 0 < record["ms_a_step"]
    capsys.readouterr()
    assert many_steps.main(["runs/b", "--levels", "4", "--out", "."]) == 1
    assert "runs/b" in capsys.readouterr().err
