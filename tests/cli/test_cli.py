"""The commands, end to end on a tiny run, and Ctrl-C."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
import torch

import sam
from sam.cli import USER_ERROR, main
from sam.models import available_models
from tests.cli.tiny import TINY, train

safetensors = pytest.importorskip("safetensors.torch")

ROOT = Path(__file__).parents[2]


def test_train_leaves_a_whole_run_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train() == 0
    run = tmp_path / "runs" / "copy-1"
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    assert names == [
        "checkpoint.pt",
        "config.toml",
        "figures/access_map.json",
        "figures/access_map.png",
        "figures/learning_curve.json",
        "figures/learning_curve.png",
        "metrics.jsonl",
        "model.safetensors",
        "summary.json",
        "timing.jsonl",
    ]
    summary = json.loads((run / "summary.json").read_text())
    assert summary["command"].startswith("sparse-sam train copy --task.max-length 2")
    assert (summary["updates"], summary["seed"], summary["threads"]) == (12, 0, 1)
    assert summary["error_unit"] == "wrong bits per sequence"
    assert summary["torch"] == torch.__version__
    assert [entry["value"] for entry in summary["evaluation"]] == [1, 3]
    assert summary["seconds"] > 0
    weights = safetensors.load_file(run / "model.safetensors")
    checkpoint = torch.load(run / "checkpoint.pt", weights_only=True)
    assert all(value.equal(checkpoint["model"][name]) for name, value in weights.items())
    assert summary["parameters"] == sum(value.numel() for value in weights.values())
    told = capsys.readouterr().out
    assert "1 thread(s)" in told
    assert "update 12/12" in told
    assert "wrong bits/sequence" in told


def test_runs_are_numbered_and_config_repeats_one(tmp_path: Path) -> None:
    assert train() == 0
    assert train("--train.seed", "5") == 0
    first, second = tmp_path / "runs" / "copy-1", tmp_path / "runs" / "copy-2"
    assert tomllib.loads((second / "config.toml").read_text())["train"]["seed"] == 5
    assert main(["train", "--config", str(second / "config.toml"), "--run", "again"]) == 0
    metrics = (tmp_path / "again" / "metrics.jsonl").read_bytes()
    assert metrics == (second / "metrics.jsonl").read_bytes()
    assert metrics != (first / "metrics.jsonl").read_bytes()


def test_resume_goes_on_and_may_move_the_end_only(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("--train.max-updates", "7", "--run", "a") == 0
    assert main(["train", "--resume", "a", "--train.max-updates", "12"]) == 0
    assert train("--run", "b") == 0
    metrics = (tmp_path / "a" / "metrics.jsonl").read_bytes()
    assert metrics == (tmp_path / "b" / "metrics.jsonl").read_bytes()
    capsys.readouterr()
    assert main(["train", "--resume", "a", "--optimizer.lr", "0.1"]) == USER_ERROR
    assert "optimizer.lr: expected the value the run began with" in capsys.readouterr().err


def test_eval_and_plot_work_on_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--run", "a") == 0
    capsys.readouterr()
    assert main(["eval", "a", "--levels", "2", "5", "--count", "3"]) == 0
    told = capsys.readouterr().out
    assert "length  sequences  bits/sequence" in told
    content = json.loads((tmp_path / "a" / "eval.json").read_text())
    assert content["update"] == 12
    assert content["settings"]["levels"] == [2, 5]
    assert [(r["value"], r["sequences"]) for r in content["results"]] == [(2, 3), (5, 3)]
    for path in (tmp_path / "a" / "figures").iterdir():
        path.unlink()
    assert main(["plot", "a"]) == 0
    assert len(list((tmp_path / "a" / "figures").glob("*.png"))) == 2

    # What killed ones have left goes when the same file is written again.
    for name in ("eval.json", "figures/access_map.png", "figures/access_map.json"):
        place, _, file = (tmp_path / "a" / name).as_posix().rpartition("/")
        left = Path(place, f".{file}.01234567.tmp")
        left.touch()
        os.utime(left, (0, 0))
    assert main(["eval", "a"]) == 0 and main(["plot", "a"]) == 0
    assert not list((tmp_path / "a").rglob("*.tmp"))


def test_eval_with_the_memory_off(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--run", "a") == 0 and train("--run", "b", "--train.seed", "1") == 0
    capsys.readouterr()
    arguments = ["--levels", "2", "5", "--count", "3", "--memory-off"]
    assert main(["eval", "a", *arguments]) == 0
    told = capsys.readouterr().out
    assert told.count("length  sequences") == 2 and "with its memory off:" in told
    content = json.loads((tmp_path / "a" / "eval.json").read_text())
    assert [r["value"] for r in content["memory_off"]] == [2, 5]
    assert content["memory_off"] != content["results"]
    assert main(["eval", "a", "b", *arguments]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[0] for row in rows[1:5]] == ["a", "memory", "b", "memory"]
    assert main(["eval", "a"]) == 0
    assert "memory_off" not in json.loads((tmp_path / "a" / "eval.json").read_text())


def test_the_baseline_trains_from_the_same_recipe(tmp_path: Path) -> None:
    arguments = ["--model.kind", "lstm", "--model.hidden-size", "8", "--train.max-updates", "3"]
    assert main(["train", "copy", "--run", "a", "--eval.levels", "1", *arguments]) == 0
    assert "[index]" not in (tmp_path / "a" / "config.toml").read_text()
    assert not (tmp_path / "a" / "figures" / "access_map.png").exists()


def test_info_names_everything(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPARSE_SAM_COMPILED", "0")  # what a step keeps depends on it
    assert main(["info"]) == 0
    told = capsys.readouterr().out
    for name in ("sam", "lstm", "key_value_recall", "exact", "babi", torch.__version__):
        assert name in told
    assert main(["info", "--model", "sam"]) == 0
    told = capsys.readouterr().out
    for name in ("cell.interface.linear.weight", "write_gates", "Cost:", "total"):
        assert name in told
    assert "Bytes of a sequence, counted: 6,440 for a fresh state, 7,924 kept per step" in told
    assert main(["info", "copy"]) == 0
    recipe = capsys.readouterr().out.partition("\nsam: ")[0]
    assert tomllib.loads(recipe)["task"] == {
        "name": "copy",
        "min_length": 1,
        "max_length": 20,
        "bits": 8,
    }


@pytest.mark.parametrize("name", sorted({*available_models()} - {"lstm"}))
def test_every_model_is_trained_from_a_recipe(name: str, tmp_path: Path) -> None:
    settings = ["--model.kind", name, "--model.hidden-size", "8", "--model.memory-size", "16"]
    settings += ["--task.max-length", "2", "--train.max-updates", "2"]
    settings += ["--eval.levels", "1", "--eval.count", "1", "--run", str(tmp_path / "run")]
    assert main(["train", "copy", *settings]) == 0
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    assert (summary["model"], summary["updates"]) == (name, 2)
    assert (tmp_path / "run/figures/access_map.png").exists()
    assert main(["eval", str(tmp_path / "run"), "--levels", "2", "--count", "2"]) == 0


def test_a_memory_that_looks_everywhere_alike_has_no_map(tmp_path: Path) -> None:
    settings = ["--model.kind", "ntm", "--model.addressing", "content"]
    settings += ["--model.memory-size", "512", "--task.max-length", "1"]
    settings += ["--train.max-updates", "1", "--train.batch-size", "1", "--train.log-every", "1"]
    settings += ["--eval.levels", "1", "--eval.count", "1", "--run", str(tmp_path / "run")]
    assert main(["train", "copy", *settings]) == 0
    figures = sorted(path.name for path in (tmp_path / "run/figures").glob("*.png"))
    assert figures == ["learning_curve.png"]


@pytest.mark.parametrize("name", available_models())
def test_info_describes_every_model(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "--model", name]) == 0
    told = capsys.readouterr().out
    assert told.startswith(f"{name}: 9 inputs, 8 outputs\n\nparameter ")
    for part in ("\ntotal ", "Cost: ", "Bytes of a sequence, counted: "):
        assert part in told
    assert ("squashed by" in told) == (name != "lstm")
    assert max(map(len, told.splitlines())) <= 100


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == sam.__version__


@pytest.mark.parametrize("arguments", [["--help"], ["train", "--help"], ["train", "copy", "-h"]])
def test_help_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "train" in capsys.readouterr().out


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_says_how_to_go_on(tmp_path: Path, number: int, code: int) -> None:
    command = [sys.executable, "-m", "sam", "train", "copy", *TINY, "--run", str(tmp_path / "a")]
    command += ["--train.max-updates", "1000000", "--train.checkpoint-every", "1000000"]
    # Without compiled forms: that they are compiled would be told on stderr.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SPARSE_SAM_COMPILED": "0"}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    metrics = tmp_path / "a" / "metrics.jsonl"
    while process.poll() is None and not (metrics.exists() and metrics.stat().st_size):
        time.sleep(0.01)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert err == ""
    saved = torch.load(tmp_path / "a" / "checkpoint.pt", weights_only=True)["progress"]["update"]
    assert saved >= 1
    assert f"stopped and saved at update {saved}; sparse-sam train --resume" in out
    lines = metrics.read_bytes().count(b"\n")
    assert lines == saved
