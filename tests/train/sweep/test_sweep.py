"""A sweep end to end: its folder, its table, and that stopping and failing loses nothing."""

import csv
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest

from sam.cli import USER_ERROR, main
from sam.train import finish
from sam.train.lines import read_json_lines
from sam.train.sweep import command, pool
from sam.train.sweep.figures import draw_sweep
from sam.train.sweep.worker import Job
from tests.cli.conftest import in_an_empty_folder as in_an_empty_folder
from tests.cli.tiny import TINY
from tests.tasks.own_files import write_series, write_text

SIZES = ["--grid", "model.memory-size=16,32"]
# Not to be compared: what a clock says, and what a busy machine takes.
CLOCK = ("seconds", "ms_per_update", "ms_per_step", "forward_ms", "backward_ms")


class InThisProcess:
    """Stands in for the processes: the same work, without the seconds that they need to start."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.most: int | None = None  # jobs until a signal comes
        self.broken: str | None = None  # a run that fails

    def run_jobs(self, jobs: list[Job], **given: Any) -> None:
        from sam.train.sweep import worker

        talk = worker._Talk(Nobody(), lambda: False)
        for job in jobs:
            if self.most is not None and len(self.done) >= self.most:
                given["ended"](pool.Ended(job.name, "stopped"))
                return
            self.done.append(job.name)
            how, reason = worker._result(job, talk)
            if job.name == self.broken:
                how, reason = "failed", "its process was ended by SIGKILL"
            given["ended"](pool.Ended(job.name, how, reason))


class Nobody:
    """A connection that nobody listens to."""

    def send(self, message: Any) -> None:
        pass


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> InThisProcess:
    stand_in = InThisProcess()
    monkeypatch.setattr(command, "run_jobs", stand_in.run_jobs)
    # A figure takes longer than all updates of such a run.
    monkeypatch.setattr(finish, "make_figures", lambda *given: [])
    monkeypatch.setattr(command, "draw_sweep", lambda *given: [])
    return stand_in


def sweep(*arguments: str) -> int:
    return main(["sweep", "copy", *TINY, *arguments])


def rows_of(folder: Path) -> list[dict[str, Any]]:
    rows = json.loads((folder / "table.json").read_text())["rows"]
    return [{key: row[key] for key in row if key not in CLOCK} for row in rows]


def test_a_folder_of_ordinary_runs_with_a_table(
    here: InThisProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sweep(*SIZES, "--grid", "index=exact,ivf", "--seeds", "2", "--out", "s") == 0
    assert len(here.done) == 8
    folder = tmp_path / "s"
    run = folder / "memory-size-16_index-ivf_seed-1"
    assert (run / "model.safetensors").exists()
    with (folder / "table.csv").open(newline="") as file:
        rows = [*csv.DictReader(file)]
    assert [row["memory_size"] for row in rows] == ["16"] * 4 + ["32"] * 4
    assert {row["status"] for row in rows} == {"finished"}
    assert all(float(row["peak_mib"]) > 0 and float(row["state_mib"]) > 0 for row in rows)
    assert {row["index_recall"] for row in rows} == {"1.0"}  # so few words are all compared
    markdown = (folder / "table.md").read_text()
    assert "| memory_size | index | runs | solved | error |" in markdown
    assert "| 16 | exact | 2 of 2 | 0 of 2 |" in markdown
    assert "ms per step" in capsys.readouterr().out

    # A run is what `train` makes of the command in its summary.
    words = json.loads((run / "summary.json").read_text())["command"].split()
    assert main([*words[1:], "--run", "alone"]) == 0
    metrics = (tmp_path / "alone/metrics.jsonl").read_bytes()
    assert metrics == (run / "metrics.jsonl").read_bytes()


def test_the_same_command_goes_on_and_ends_alike(here: InThisProcess, tmp_path: Path) -> None:
    given = [*SIZES, "--seeds", "2"]
    assert sweep(*given, "--out", "whole") == 0
    here.done, here.most = [], 3
    assert sweep(*given, "--out", "parts") == 0
    assert [row["status"] for row in rows_of(tmp_path / "parts")][2:] == ["finished", "stopped"]
    # The fourth run was broken off, and the summary of the first one is damaged.
    (tmp_path / "parts/memory-size-16_seed-0/summary.json").write_text("{")
    here.done, here.most = [], None
    assert main(["sweep", "--resume", "parts"]) == 0
    assert here.done == ["memory-size-16_seed-0", "memory-size-32_seed-1"]
    assert rows_of(tmp_path / "parts") == rows_of(tmp_path / "whole")
    for name in ("memory-size-16_seed-0", "memory-size-32_seed-1"):
        metrics = [tmp_path / where / name / "metrics.jsonl" for where in ("whole", "parts")]
        assert metrics[0].read_bytes() == metrics[1].read_bytes()


def test_a_larger_grid_and_more_updates_go_on_other_settings_do_not(
    here: InThisProcess, tmp_path: Path
) -> None:
    assert sweep("--grid", "model.memory-size=16", "--out", "s") == 0
    here.done = []
    assert sweep(*SIZES, "--out", "s") == 0
    assert here.done == ["memory-size-32_seed-0"]
    here.done = []
    longer = ["--grid", "model.memory-size=16", "--train.max-updates", "14"]
    assert sweep(*longer, "--out", "s") == 0
    assert here.done == ["memory-size-16_seed-0"]
    lines = read_json_lines(tmp_path / "s/memory-size-16_seed-0/metrics.jsonl")
    assert [line["update"] for line in lines] == [*range(1, 15)]
    here.done = []
    assert sweep(*SIZES, "--out", "s", "--optimizer.lr", "0.1") == USER_ERROR
    assert here.done == []


def test_a_failed_run_has_its_reason_in_the_table(
    here: InThisProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here.broken = "memory-size-16_seed-0"
    assert sweep(*SIZES, "--out", "s") == command.SOME_FAILED
    assert "1 of 2 runs failed" in capsys.readouterr().out
    first, second = rows_of(tmp_path / "s")
    assert (first["status"], first["reason"]) == ("failed", "its process was ended by SIGKILL")
    assert second["status"] == "finished"
    assert "memory-size-16_seed-0: failed, its process" in (tmp_path / "s/table.md").read_text()


def test_a_diverging_run_does_not_stop_the_others(here: InThisProcess, tmp_path: Path) -> None:
    given = ["--grid", "train.max-loss=0.1,1000", "--out", "s"]
    assert sweep(*given) == command.SOME_FAILED
    first, second = rows_of(tmp_path / "s")
    assert first["reason"].startswith("loss: expected at most train.max_loss = 0.1")
    assert second["status"] == "finished"


def test_a_model_without_index_or_memory_is_run_once(
    here: InThisProcess, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = (
        '[task]\nname = "copy"\nmax_length = 2\n[model]\nkind = "lstm"\n[index]\nkind = "lsh"\n'
    )
    recipe += "[train]\nmax_updates = 2\n[eval]\nlevels = [1]\ncount = 2\n"
    (tmp_path / "mine.toml").write_text(recipe)
    grid = ["--grid", "model.kind=lstm,sam", "--grid", "index=exact,ivf"]
    assert main(["sweep", "mine.toml", *grid, "--model.memory-size", "16"]) == 0
    assert here.done == [
        "kind-lstm_seed-0",
        "kind-sam_index-exact_seed-0",
        "kind-sam_index-ivf_seed-0",
    ]
    told = capsys.readouterr().out
    assert "warning: lstm has no index.kind: run once without it" in told
    assert "warning: lstm has no model.memory-size: left out for it" in told
    assert "warning: lstm has no index: the recipe's [index] is left out for it" in told
    assert (tmp_path / "runs/sweep-mine/table.md").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected at least one --grid"),
        ([*SIZES, *SIZES], "once, got it twice"),
        (["--grid", "model.memroy-size=3"], "model.memroy-size: expected a setting of sam"),
        (["--grid", "task.lenght=3"], "--task.lenght: unknown option"),
        (["--grid", "model.memory-size=big"], "invalid literal for int"),
        (["--grid", "index=hnsw"], "one of auto, exact"),
        (["--grid", "model.kind=sam,samm"], "did you mean 'sam'?"),
        (["--grid", "model.top-k=2,64"], "top-k-64: top_k: expected at most memory_size=32"),
        ([*SIZES, "--seeds", "0"], "--seeds: expected at least 1"),
        ([*SIZES, "--jobs", "0"], "--jobs: expected at least 1"),
        ([*SIZES, "--full"], "--full: expected together with --cost-only"),
        ([*SIZES, "--cost-only", "--seeds", "3"], "--seeds: expected none"),
        ([*SIZES, "--model.memroy-size", "3"], "mean '--model.memory-size'?"),
    ],
)
def test_a_mistake_is_one_line_before_anything_runs(
    arguments: list[str],
    message: str,
    here: InThisProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert sweep(*arguments) == USER_ERROR
    captured = capsys.readouterr()
    assert captured.err.startswith("sparse-sam: error: ") and captured.err.count("\n") == 1
    assert message in captured.err and captured.out == ""
    assert here.done == [] and [*tmp_path.iterdir()] == []


def test_costs_are_measured_without_training(here: InThisProcess, tmp_path: Path) -> None:
    grid = ["--grid", "model.kind=sam,ntm", "--grid", "index=exact,ivf", "--cost-only"]
    assert sweep(*grid) == 0
    folder = tmp_path / "runs/cost-copy"
    rows = rows_of(folder)
    assert [row["run"] for row in rows] == here.done and len(rows) == 3
    assert all(row["peak_mib"] > 0 for row in rows)
    assert sorted(path.name for path in folder.iterdir() if path.is_dir()) == ["costs"]
    here.done = []
    assert sweep(*grid) == 0 and here.done == []
    assert sweep(*grid, "--full") == 0 and len(here.done) == 3
    assert [row["searching"] for row in rows_of(folder)] == ["exact", "exact", None]
    (folder / f"costs/{here.done[0]}.json").write_text("{}")
    here.done = []
    assert main(["sweep", "--resume", str(folder)]) == 0 and len(here.done) == 1


def test_plot_and_eval_take_a_sweep_and_several_runs(
    here: InThisProcess,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sweep(*SIZES, "--seeds", "2", "--out", "s") == 0
    monkeypatch.setattr(command, "draw_sweep", draw_sweep)
    capsys.readouterr()
    assert main(["plot", "s"]) == 0
    for name in ("error", "cost", "curves"):
        assert (tmp_path / f"s/figures/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert main(["eval", "s", "--levels", "2", "--count", "3", "--memory-size", "64"]) == 0
    told = capsys.readouterr().out
    assert "run                      update  N   index  length 2" in told
    assert told.count("12      64  exact") == 4
    runs = ["s/memory-size-16_seed-0", "s/memory-size-16_seed-1"]
    assert main(["plot", *runs, "--out", "f"]) == 0
    groups = json.loads((tmp_path / "f/curves.json").read_text())["groups"]
    assert len(groups) == 1 and len(groups[0]["errors"]) == 2
    assert main(["plot", runs[0], "--out", "f"]) == USER_ERROR


@pytest.mark.parametrize("name", ["series", "text"])
def test_a_sweep_over_data_of_ones_own(
    here: InThisProcess,
    tmp_path: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing is to be solved there, and an LSTM has neither index nor memory."""
    monkeypatch.setattr(command, "draw_sweep", draw_sweep)
    (write_series if name == "series" else write_text)(tmp_path / "my data")
    grid = ["--grid", "model.kind=sam,sdnc,lstm", "--grid", "index=exact", *SIZES]
    small = ["--model.hidden-size", "8", "--train.max-updates", "3", "--train.log-every", "1"]
    small += ["--eval.count", "4", "--task.length", "5", "--task.path", "my data"]
    assert main(["sweep", name, *small, *grid, "--out", "s"]) == 0
    told = capsys.readouterr().out
    assert "solved" not in told and ": 3 updates, " in told
    rows = rows_of(tmp_path / "s")
    assert [row["model"] for row in rows] == ["sam", "sam", "sdnc", "sdnc", "lstm"]
    assert all(row["error"] > 0 and row["test_error"] > 0 for row in rows)
    groups = json.loads((tmp_path / "s/figures/curves.json").read_text())["groups"]
    assert len(groups) == 5 and all(group["updates"] == [1, 2, 3] for group in groups)
    assert main(["eval", "s"]) == 0
    assert "index  all\n" in capsys.readouterr().out


def test_what_is_imported_is_in_every_run(here: InThisProcess, tmp_path: Path) -> None:
    """Once, beside what the recipe imports."""
    own = tmp_path / "own_parts.py"
    own.write_text("")
    recipe = tmp_path / "own.toml"
    recipe.write_text('import = ["own_parts.py"]\n[task]\nname = "copy"\n')
    other = tmp_path / "other_parts.py"
    other.write_text("")
    given = [str(recipe), "--import", str(own), "--import", str(other), *TINY, *SIZES]
    assert main(["sweep", *given, "--out", str(tmp_path / "a")]) == 0
    for run in here.done:
        config = tomllib.loads((tmp_path / "a" / run / "config.toml").read_text())
        assert config["import"] == [str(own), str(other)]
