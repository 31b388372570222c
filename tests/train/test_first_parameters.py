"""Runs that begin with the parameters of another one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from sam.errors import ConfigError
from sam.train.folder import load_run
from sam.train.run import train_run
from sam.train.train_config import RunConfig
from tests.train.kills import KillAt, Killed

Build = Callable[..., RunConfig]


@pytest.fixture
def first(tiny: Build, tmp_path: Path) -> Path:
    """A run that has ended, of averaged parameters."""
    folder = tmp_path / "first"
    train_run(tiny(train={"ema": 0.5}), folder)
    return folder


def test_a_run_begins_with_what_another_came_to(tiny: Build, tmp_path: Path, first: Path) -> None:
    given = {"begin_with": str(first), "max_updates": 0, "seed": 5, "ema": 0.9}
    outcome = train_run(tiny(train=given), tmp_path / "second")
    wanted = load_run(first)[1].state_dict()
    assert outcome.progress.update == 0
    for name, value in outcome.model.state_dict().items():
        torch.testing.assert_close(value, wanted[name], rtol=0, atol=0)


def test_a_killed_run_goes_on_bit_for_bit_without_the_other(
    tiny: Build, tmp_path: Path, first: Path, assert_equal_runs: Callable[[Path, Path], None]
) -> None:
    config = tiny(train={"begin_with": str(first)})
    train_run(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_run(config, tmp_path / "killed", reporter=KillAt(7))
    first.rename(tmp_path / "elsewhere")
    train_run(config, tmp_path / "killed", resume=True)
    assert_equal_runs(tmp_path / "killed", tmp_path / "whole")


def test_other_parameters_are_refused(tiny: Build, tmp_path: Path, first: Path) -> None:
    config = tiny(train={"begin_with": str(first)})
    config = replace(config, model=replace(config.model, word_size=5))
    with pytest.raises(ConfigError, match=r"begin_with: expected parameters .* with shape .*, got"):
        train_run(config, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_folder_without_a_run_is_refused(tiny: Build, tmp_path: Path) -> None:
    config = tiny(train={"begin_with": str(tmp_path / "none")})
    with pytest.raises(ConfigError, match="begin_with: expected the folder of a run, got"):
        train_run(config, tmp_path / "second")
