"""A run that was broken off and resumed equals an unbroken one, bit for bit."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam.errors import CheckpointError, ConfigError, UnknownNameError
from sam.train.folder import check_extension
from sam.train.run import train_run
from sam.train.train_config import RunConfig
from tests.train.kills import KillAt, Killed

Build = Callable[..., RunConfig]
AssertEqual = Callable[[Path, Path], None]


@pytest.mark.parametrize("curriculum", [False, True])
@pytest.mark.parametrize("killed_at", [1, 4, 5, 6, 11, 12])
def test_killed_and_resumed(
    tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual, killed_at: int, curriculum: bool
) -> None:
    config = tiny(
        curriculum={"enabled": curriculum, "threshold": 9.0, "min_hard": 1},
        train={"evaluate_every": 4},
    )
    train_run(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_run(config, tmp_path / "broken", reporter=KillAt(killed_at))
    torch.manual_seed(99)  # nothing may hang on what the process did in between
    with (tmp_path / "broken" / "metrics.jsonl").open("ab") as file:
        file.write(b'{"update": 7, "lo')  # a line torn by the kill
    outcome = train_run(config, tmp_path / "broken", resume=True)
    assert outcome.progress.update == 12
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")


def test_stopped_and_resumed(tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual) -> None:
    asked = iter([False, False, True])
    broken = tmp_path / "broken"
    outcome = train_run(tiny(), broken, should_stop=lambda: next(asked))
    assert outcome.stopped
    assert outcome.progress.update == 3
    assert not train_run(tiny(), broken, resume=True).stopped
    train_run(tiny(), tmp_path / "whole")
    assert_equal_runs(tmp_path / "whole", broken)


def test_a_longer_run_is_the_same_run(
    tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual
) -> None:
    train_run(tiny(train={"max_updates": 7}), tmp_path / "extended")
    train_run(tiny(), tmp_path / "extended", resume=True)
    train_run(tiny(), tmp_path / "whole")
    assert_equal_runs(tmp_path / "whole", tmp_path / "extended")
    assert "max_updates = 12" in (tmp_path / "extended" / "config.toml").read_text()


def test_resuming_a_finished_run_changes_nothing(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    assert train_run(tiny(), tmp_path / "run", resume=True).progress.update == 12
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_a_run_killed_before_its_first_checkpoint_starts_over(
    tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual
) -> None:
    train_run(tiny(), tmp_path / "whole")
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "config.toml").write_bytes((tmp_path / "whole" / "config.toml").read_bytes())
    (broken / "metrics.jsonl").touch()
    train_run(tiny(), broken, resume=True)
    assert_equal_runs(tmp_path / "whole", broken)


def test_metrics_without_a_checkpoint_are_never_cut(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    (tmp_path / "run" / "checkpoint.pt").unlink()
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(FileNotFoundError):
        train_run(tiny(), tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_metrics_shorter_than_the_checkpoint_says_are_an_error(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    (tmp_path / "run" / "metrics.jsonl").write_bytes(b"{}\n")
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl: expected at least the \d+ bytes"):
        train_run(tiny(), tmp_path / "run", resume=True)


@pytest.mark.parametrize("name", ["metrics.jsonl", "timing.jsonl"])
def test_a_log_altered_at_the_same_length_is_an_error(
    tiny: Build, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    train_run(tiny(), run)
    log = run / name
    log.write_bytes(log.read_bytes().replace(b'"update": 3', b'"update": 4'))
    before = {file: file.read_bytes() for file in run.iterdir()}
    with pytest.raises(CheckpointError, match=f"{name}: .* altered since"):
        train_run(tiny(train={"max_updates": 99}), run, resume=True)
    assert {file: file.read_bytes() for file in run.iterdir()} == before


def test_a_kill_before_the_settings_are_written_leaves_a_folder_to_run_in(
    tiny: Build, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    run.mkdir()
    (run / ".lock").touch()
    (run / ".config.toml.0123abcd.tmp").write_text("[tas")
    with pytest.raises(ConfigError, match="nothing has begun there"):
        train_run(tiny(), run, resume=True)
    train_run(tiny(), run)
    assert not [path.name for path in run.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", ["summary.json", "figures/access_map.png", "config.toml"])
def test_what_is_in_the_way_at_the_end_is_met_at_the_start(
    tiny: Build, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    train_run(tiny(train={"max_updates": 3}), run)
    (run / name).unlink(missing_ok=True)
    (run / name).mkdir(parents=True)
    before = {file: file.read_bytes() for file in run.rglob("*") if file.is_file()}
    with pytest.raises(ConfigError, match=f"{name}: expected a file that can be replaced"):
        train_run(tiny(), run, resume=True)
    assert {file: file.read_bytes() for file in run.rglob("*") if file.is_file()} == before


def test_resuming_with_other_settings_is_an_error(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(), tmp_path / "run")
    changed = tiny(optimizer={"lr": 0.5})
    with pytest.raises(ConfigError, match=r"optimizer\.lr: expected the value the run began with"):
        check_extension(tiny(), changed)
    with pytest.raises(CheckpointError, match=r"got others in \[optimizer\]"):
        train_run(changed, tmp_path / "run", resume=True)
    check_extension(tiny(), tiny(train={"max_updates": 99, "stop_below": 0.1}))


@pytest.mark.parametrize("name", ["file", "folder"])
def test_nothing_is_overwritten(tiny: Build, tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "file":
        path.write_text("mine")
    else:
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    with pytest.raises(ConfigError, match="run folder: expected a new or empty one"):
        train_run(tiny(), path)
    assert list(path.rglob("*")) == ([] if name == "file" else [path / "notes.txt"])


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"eval": {"levels": [0]}}, ValueError, "level: expected at least 1"),
        ({"train": {"loggers": ["mlflow"]}}, UnknownNameError, "train.loggers.*tensorboard"),
        ({"model": {"top_k": 99}}, ConfigError, "top_k"),
        ({"index": {"kind": "nearest"}}, UnknownNameError, "nearest"),
    ],
)
def test_what_cannot_run_leaves_no_folder(
    tiny: Build, tmp_path: Path, changes: dict, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        train_run(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()
