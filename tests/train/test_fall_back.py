"""The way back from a collapse: when it is taken, what it restores, and that a run goes on."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from sam.errors import CheckpointError, ConfigError
from sam.train.checkpoint import load_checkpoint, save_checkpoint
from sam.train.fall_back import FallBack
from sam.train.lines import read_metrics
from sam.train.run import train_run
from sam.train.train_config import RunConfig, TrainConfig
from tests.train.kills import KillAt, Killed

Build = Callable[..., RunConfig]
CONFIG = TrainConfig(window=2, fall_back_above=0.5, fall_back_rate=0.25)


class Subject:
    """A model of one number, which each update raises by 1."""

    def __init__(self) -> None:
        self.model, self.average = nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=1.0)
        with torch.no_grad():
            self.model.weight.zero_()
        self.fall_back = FallBack(CONFIG, [self.model, self.average], self.optimizer)

    def update(self, loss: float, *, harder: bool = False) -> bool:
        self.model.weight.grad = -torch.ones(1, 1)
        before = self.model.weight.item()
        self.fall_back.step()
        self.moved = self.model.weight.item() - before
        with torch.no_grad():
            self.average.weight.copy_(self.model.weight / 2)
        return self.fall_back.updated(loss, harder=harder)


def test_a_block_far_above_the_best_one_leads_back_to_it() -> None:
    subject = Subject()
    losses = [0.4, 0.2, 0.1, 0.3, 0.6, 0.6, 0.7, 0.7]
    assert [subject.update(loss) for loss in losses] == [False] * 7 + [True]
    # The block of 0.1 and 0.3 was the best; one of 0.6 is 0.4 above it, one of 0.7 is 0.5.
    assert subject.model.weight.item() == pytest.approx(4)
    assert subject.average.weight.item() == pytest.approx(2)
    assert subject.fall_back.state.scale == 0.25
    assert subject.optimizer.param_groups[0]["lr"] == 1.0
    subject.update(0.2)
    # A first step of Adam has the length of the rate.
    assert subject.moved == pytest.approx(0.25)
    subject.update(0.2)
    assert [subject.update(0.9), subject.update(0.9)] == [False, True]
    assert subject.fall_back.state.scale == 0.0625


def test_a_harder_level_begins_a_new_count() -> None:
    subject = Subject()
    assert not any(subject.update(0.1) for _ in range(3))
    subject.update(0.1, harder=True)
    assert subject.fall_back.state.lowest is None
    assert not any(subject.update(0.8) for _ in range(4)), "of the new level it is the lowest"
    assert [subject.update(1.4), subject.update(1.4)] == [False, True]
    assert subject.model.weight.item() == pytest.approx(6)


# Any block that is not the lowest leads back.
OFTEN = {"fall_back_above": 1e-12, "fall_back_rate": 0.5, "ema": 0.7, "window": 2}


def test_a_killed_run_goes_on_bit_for_bit(
    tiny: Build, tmp_path: Path, assert_equal_runs: Callable[[Path, Path], None]
) -> None:
    config = tiny(train=OFTEN, optimizer={"lr": 0.1}, curriculum={"enabled": True, "start": 2})
    train_run(config, tmp_path / "whole")
    for at in (4, 7):
        with pytest.raises(Killed):
            train_run(config, tmp_path / f"{at}", reporter=KillAt(at))
        train_run(config, tmp_path / f"{at}", resume=True)
        assert_equal_runs(tmp_path / "whole", tmp_path / f"{at}")
    state = load_checkpoint(tmp_path / "whole" / "checkpoint.pt").fall_back
    assert state is not None and state.scale < 1 and len(state.kept) == 2
    rates = [line["learning_rate"] for line in read_metrics(tmp_path / "whole" / "metrics.jsonl")]
    assert rates[0] == 0.1 and rates[-1] < 0.1


def test_a_checkpoint_without_it_is_refused(tiny: Build, tmp_path: Path) -> None:
    config = tiny(train=OFTEN)
    train_run(config, tmp_path / "run")
    path = tmp_path / "run" / "checkpoint.pt"
    whole = load_checkpoint(path)
    assert whole.fall_back is not None
    for changed, named in (
        (whole._replace(fall_back=None), "fall_back: expected"),
        (whole._replace(fall_back=whole.fall_back._replace(scale=0.0)), "fall_back.scale"),
        (whole._replace(fall_back=whole.fall_back._replace(kept=())), "fall_back.kept"),
        (whole._replace(fall_back=whole.fall_back._replace(kept=({},))), "model: expected"),
    ):
        save_checkpoint(path, changed)
        with pytest.raises(CheckpointError, match=named):
            train_run(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize(
    "wrong", [{"fall_back_above": 0.0}, {"fall_back_rate": 0.0}, {"fall_back_rate": 1.5}]
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    (name,) = wrong
    with pytest.raises(ConfigError, match=f"train.{name}: expected above 0"):
        TrainConfig(**wrong)  # type: ignore[arg-type]
