"""K that falls in training, and initial biases: what they set, and what refuses them."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from sam import SAM, SDNC
from sam.errors import ConfigError
from sam.train.folder import build_model, load_run
from sam.train.learner import Learner
from sam.train.loop import first_progress, updates
from sam.train.optimizer import make_optimizer
from sam.train.run import train_run
from sam.train.settings import model_settings
from sam.train.top_k import top_k_at
from sam.train.train_config import RunConfig
from tests.train.kills import KillAt, Killed

Build = Callable[..., RunConfig]
FALLING = {"first_top_k": 8, "top_k_updates": 6, "ema": 0.5}


def with_model(config: RunConfig, kind: str) -> RunConfig:
    sizes = {"hidden_size": 8}
    if kind != "lstm":
        sizes |= {"memory_size": 32, "word_size": 4, "top_k": 2}
    index = config.index if kind != "lstm" else None
    return replace(config, model=model_settings(kind)(**sizes), index=index)


def test_k_falls_by_equal_factors() -> None:
    assert [top_k_at(16, 4, 4, done) for done in range(6)] == [16, 11, 8, 6, 4, 4]
    assert [top_k_at(2, 2, 9, done) for done in (0, 5, 9)] == [2, 2, 2]


@pytest.mark.parametrize("kind", ["sam", "sdnc"])
def test_each_update_reads_as_many_words(tiny: Build, kind: str) -> None:
    config = with_model(tiny(train=FALLING), kind)
    made: Any = build_model(config)
    learner = Learner(made, make_optimizer(config.optimizer, made), config)
    learner.begin(0)
    seen = [made.cell.memory.top_k]
    for _ in updates(made, learner.optimizer, config, first_progress(config), learner=learner):
        seen.append(made.cell.memory.top_k)
        average: Any = learner.evaluated
        assert average.cell.memory.top_k == seen[-1]
    assert seen[:7] == [8, 6, 5, 4, 3, 3, 2]
    assert set(seen[7:]) == {2}


def test_a_killed_run_goes_on_bit_for_bit_and_ends_with_the_models_own(
    tiny: Build, tmp_path: Path, assert_equal_runs: Callable[[Path, Path], None]
) -> None:
    config = tiny(train=FALLING | {"top_k_updates": 100})
    outcome: Any = train_run(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_run(config, tmp_path / "broken", reporter=KillAt(7))
    train_run(config, tmp_path / "broken", resume=True)
    assert_equal_runs(tmp_path / "whole", tmp_path / "broken")
    loaded: Any = load_run(tmp_path / "whole")[1]
    assert outcome.model.cell.memory.top_k == loaded.cell.memory.top_k == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"train": {"first_top_k": 33}}, "at most memory_size=32, got 33"),
        ({"train": {"first_top_k": 0}}, "at least 1"),
        ({"train": {"first_top_k": 4, "top_k_updates": 0}}, "train.top_k_updates"),
    ],
)
def test_a_k_that_cannot_be_is_refused(
    tiny: Build, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        train_run(tiny(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_model_without_k_is_refused(tiny: Build, tmp_path: Path) -> None:
    config = with_model(tiny(train=FALLING), "lstm")
    with pytest.raises(ConfigError, match="expected a model with top_k, got lstm"):
        train_run(config, tmp_path / "run")


@pytest.mark.parametrize("model_type", [SAM, SDNC])
def test_initial_biases(model_type: Any) -> None:
    torch.manual_seed(0)
    usual = model_type(3, 2)
    torch.manual_seed(0)
    model = model_type(3, 2, write_gate_bias=4.0, strength_bias=-2.0)
    with torch.no_grad():
        model.cell.interface.linear.weight.zero_()
    controls = model.cell.interface(torch.randn(5, 100))
    torch.testing.assert_close(
        controls.write_gates, torch.full_like(controls.write_gates, 0.98201376)
    )
    torch.testing.assert_close(controls.strengths, torch.full((5, 4), 1.12692801))
    changed = model.cell.interface.linear.bias != usual.cell.interface.linear.bias
    assert changed.sum() == controls.write_gates.shape[1] + 4
    with pytest.raises(ConfigError, match=r"bias: expected one of keys.* got 'strengths'"):
        model_type(3, 2, strength="none", strength_bias=1.0)
    with pytest.raises(ConfigError, match="bias of write_gates: expected a finite number"):
        model_type(3, 2, write_gate_bias=float("nan"))


@pytest.mark.parametrize("model_type", [SAM, SDNC])
def test_keys_that_begin_like_words(model_type: Any) -> None:
    torch.manual_seed(0)
    usual = model_type(3, 2)
    torch.manual_seed(0)
    model = model_type(3, 2, first_keys="like_words")
    hidden = torch.randn(5, 100)
    before, controls = usual.cell.interface(hidden), model.cell.interface(hidden)
    written = controls.adds.expand_as(controls.keys)
    torch.testing.assert_close(controls.keys, written)
    assert not torch.equal(before.keys, written)
    for name in ("adds", "write_gates", "strengths"):  # all else is drawn as ever
        assert torch.equal(getattr(before, name), getattr(controls, name)), name
    with pytest.raises(ConfigError, match="first_keys: expected"):
        model_type(3, 2, first_keys="alike")
    with pytest.raises(ConfigError, match=r"field: expected one of keys.*got 'links'"):
        model.cell.interface.set_like("links", "adds")


def test_heads_that_share_a_write_begin_with_its_word() -> None:
    model = SAM(3, 2, num_heads=3, shared_write=True, first_keys="like_words")
    controls = model.cell.interface(torch.randn(5, 100))
    torch.testing.assert_close(controls.keys, controls.adds.expand(5, 3, 32))


def test_where_interpolation_gates_begin() -> None:
    model = SAM(3, 2, interpolation_bias=-3.0)
    with torch.no_grad():
        model.cell.interface.linear.weight.zero_()
    gates = model.cell.interface(torch.randn(5, 100)).interpolation_gates
    torch.testing.assert_close(gates, torch.full((5, 4), 0.04742587))
