"""Schedules, averages, accumulation, early stopping: what they do, and that a run goes on.

Whatever is switched on, a run that was killed and resumed equals an unbroken one, bit for bit.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from sam.errors import CheckpointError, ConfigError
from sam.train.best import Best, is_exhausted, judged
from sam.train.checkpoint import load_checkpoint, save_checkpoint
from sam.train.folder import build_model, check_extension, load_run, read_config
from sam.train.learner import Learner
from sam.train.lines import read_metrics
from sam.train.optimizer import make_optimizer
from sam.train.passes import backward
from sam.train.processes import ALONE
from sam.train.run import train_run
from sam.train.schedule import learning_rate_factor
from sam.train.settings import resolve, to_tables
from sam.train.toml import to_toml
from sam.train.train_config import OptimizerConfig, RunConfig, TrainConfig
from tests.train.kills import KillAt, Killed

Build = Callable[..., RunConfig]
AssertEqual = Callable[[Path, Path], None]
EVERYTHING: dict[str, dict[str, Any]] = {
    "optimizer": {
        "name": "adamw",
        "weight_decay": 0.1,
        "lr": 0.02,
        "warmup": 3,
        "schedule": "cosine",
        "final_factor": 0.1,
    },
    "train": {
        "accumulate": 2,
        "ema": 0.7,
        "evaluate_every": 2,
        "patience": 9,
        "keep_best": True,
        "precision": "bfloat16",
    },
}


NEW = {
    "optimizer": ("weight_decay", "warmup", "schedule", "schedule_updates", "final_factor"),
    "train": ("accumulate", "patience", "keep_best", "ema", "precision", "device"),
}


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "text.txt"
    path.write_text("one fish two fish red fish blue fish. " * 12)
    return path


def killed_and_resumed(config: RunConfig, folder: Path, at: int) -> Path:
    with pytest.raises(Killed):
        train_run(config, folder, reporter=KillAt(at))
    torch.manual_seed(99)
    train_run(config, folder, resume=True)
    return folder


@pytest.mark.parametrize(("name", "at"), [("adamw", 4), ("rmsprop", 7)])
def test_killed_and_resumed_with_everything(
    tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual, at: int, name: str
) -> None:
    config = tiny(**EVERYTHING | {"optimizer": EVERYTHING["optimizer"] | {"name": name}})
    train_run(config, tmp_path / "whole")
    broken = killed_and_resumed(config, tmp_path / "broken", at)
    assert_equal_runs(tmp_path / "whole", broken)
    ours, theirs = (load_checkpoint(f / "checkpoint.pt") for f in (tmp_path / "whole", broken))
    for part in ("model", "average", "best"):
        for key, value in getattr(ours, part).items():
            assert torch.equal(value, getattr(theirs, part)[key]), (part, key)
    rates = [
        record["learning_rate"]
        for record in read_metrics(broken / "metrics.jsonl")
        if "loss" in record
    ]
    factors = [learning_rate_factor(config.optimizer, u, 12) for u in range(len(rates))]
    assert rates == pytest.approx([0.02 * factor for factor in factors])


@pytest.mark.parametrize("index", ["exact", "lsh"])
@pytest.mark.parametrize("at", [3, 7])
def test_a_carried_state_is_killed_and_resumed(
    tiny: Build, tmp_path: Path, text: Path, assert_equal_runs: AssertEqual, at: int, index: str
) -> None:
    config, broken = _on_text(tiny, text, index={"kind": index}), tmp_path / "broken"
    train_run(config, tmp_path / "whole")
    for resumed, last in ((False, at), (True, at + 1)):  # twice, without a checkpoint in between
        with pytest.raises(Killed):
            train_run(config, broken, resume=resumed, reporter=KillAt(last))
    train_run(config, broken, resume=True)
    assert_equal_runs(tmp_path / "whole", broken)


def _on_text(tiny: Build, text: Path, **changes: Any) -> RunConfig:
    tables = to_tables(tiny(**changes))
    tables["task"] = {"name": "text", "path": str(text), "length": 7, "held_out": 0.1}
    tables["eval"] |= {"levels": [1]}
    return resolve(tables)


def test_a_carried_state_goes_on_over_updates_and_is_kept(
    tiny: Build, tmp_path: Path, text: Path
) -> None:
    config = _on_text(tiny, text, train={"max_updates": 3, "checkpoint_every": 3})
    train_run(config, tmp_path / "run")
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint.carried is not None and len(checkpoint.carried) == 1
    # 2 heads write a word each a step: 3 updates of 7 steps, of at most 32 words.
    used = [record["memory_in_use"] for record in read_metrics(tmp_path / "run" / "metrics.jsonl")]
    assert used == [14 / 32, 28 / 32, 1.0]
    damaged = checkpoint.carried[0] | {"controller.hidden": torch.zeros(5, 5)}
    save_checkpoint(tmp_path / "run" / "checkpoint.pt", checkpoint._replace(carried=[damaged]))
    with pytest.raises(CheckpointError, match=r"carried: .*controller\.hidden: expected"):
        train_run(config, tmp_path / "run", resume=True)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_the_schedules(schedule: Any) -> None:
    config = OptimizerConfig(warmup=4, schedule=schedule, final_factor=0.2)
    factors = [learning_rate_factor(config, u, 24) for u in range(30)]
    assert factors[:4] == [0.25, 0.5, 0.75, 1.0]
    half = {"constant": 1.0, "cosine": 0.6, "linear": 0.6}[schedule]
    assert factors[14] == pytest.approx(half)
    assert factors[-1] == factors[24] == pytest.approx(1.0 if schedule == "constant" else 0.2)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
def test_a_rate_that_is_held_before_it_falls(schedule: Any) -> None:
    config = OptimizerConfig(warmup=2, hold=10, schedule=schedule, final_factor=0.2)
    factors = [learning_rate_factor(config, u, 22) for u in range(30)]
    assert factors[:2] == [0.5, 1.0]
    assert factors[2:13] == [1.0] * 11
    assert factors[17] == pytest.approx(1.0 if schedule == "constant" else 0.6)
    assert factors[-1] == factors[22] == pytest.approx(1.0 if schedule == "constant" else 0.2)
    with pytest.raises(ConfigError, match=r"optimizer\.schedule_updates"):
        OptimizerConfig(warmup=2, hold=10, schedule="linear", schedule_updates=12)


def test_a_schedule_to_the_end_of_the_run_cannot_be_extended(tiny: Build) -> None:
    falling = {"schedule": "linear"}
    longer = {"max_updates": 99}
    with pytest.raises(ConfigError, match=r"train\.max_updates: expected the value"):
        check_extension(tiny(optimizer=falling), tiny(optimizer=falling, train=longer))
    named = falling | {"schedule_updates": 12}
    check_extension(tiny(optimizer=named), tiny(optimizer=named, train=longer))


def test_accumulated_gradients_are_those_of_a_larger_batch(tiny: Build) -> None:
    large = tiny(train={"batch_size": 6})
    small = tiny(train={"batch_size": 2, "accumulate": 3})
    whole = large.task.sample(6, generator=torch.Generator().manual_seed(0))
    parts = [whole.rows(slice(first, first + 2)) for first in (0, 2, 4)]
    found = []
    for config, given in ((large, [whole]), (small, parts)):
        model = build_model(config)
        learner = Learner(model, make_optimizer(config.optimizer, model), config)
        scores, _ = backward(model, learner, config, iter(given), 1, ALONE)
        found.append((scores, [parameter.grad for parameter in model.parameters()]))
    (scores, gradients), (their_scores, their_gradients) = found
    torch.testing.assert_close(their_scores.bits, scores.bits)
    torch.testing.assert_close(their_scores.loss, scores.loss.detach())
    torch.testing.assert_close(their_gradients, gradients, rtol=1e-4, atol=1e-6)


def test_the_average_is_evaluated_and_saved(tiny: Build, tmp_path: Path) -> None:
    plain = train_run(tiny(), tmp_path / "plain").model
    outcome = train_run(tiny(train={"ema": 0.5}), tmp_path / "averaged")
    checkpoint = load_checkpoint(tmp_path / "averaged" / "checkpoint.pt")
    _, loaded, _ = load_run(tmp_path / "averaged")
    for name, value in plain.state_dict().items():
        assert torch.equal(checkpoint.model[name], value), "training is not changed by it"
        assert torch.equal(outcome.model.state_dict()[name], loaded.state_dict()[name])
    assert not torch.equal(
        loaded.state_dict()["output.weight"], plain.state_dict()["output.weight"]
    )


def test_patience_ends_a_run_and_the_best_is_kept(tiny: Build, tmp_path: Path) -> None:
    # A learning rate of 0.5 spoils what has been learned.
    config = tiny(
        optimizer={"lr": 0.5},
        train={"evaluate_every": 1, "patience": 3, "keep_best": True, "max_updates": 60},
    )
    outcome = train_run(config, tmp_path / "run")
    best = outcome.progress.best
    assert best is not None and best.waited == 3
    assert outcome.progress.update == best.update + 3 < 60
    kept = load_checkpoint(tmp_path / "run" / "checkpoint.pt").best
    assert kept is not None
    _, loaded, _ = load_run(tmp_path / "run")
    assert torch.equal(loaded.state_dict()["output.weight"], kept["output.weight"])
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    train_run(config, tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_run_of_version_0_1_0_goes_on(
    tiny: Build, tmp_path: Path, assert_equal_runs: AssertEqual, name: str
) -> None:
    """Its settings lack what has come since, and its optimizer has torch's own defaults."""
    config, run = tiny(optimizer={"name": name}), tmp_path / "old"
    train_run(config, tmp_path / "whole")
    with pytest.raises(Killed):
        train_run(config, run, reporter=KillAt(7))
    tables = to_tables(config)
    for section, keys in NEW.items():
        tables[section] = {key: v for key, v in tables[section].items() if key not in keys}
    checkpoint = load_checkpoint(run / "checkpoint.pt")
    (group,) = checkpoint.optimizer["param_groups"]
    assert type(group["weight_decay"]) is int and "initial_lr" not in group
    assert (checkpoint.average, checkpoint.best, checkpoint.carried) == (None, None, None)
    (run / "config.toml").write_text(to_toml(tables))
    save_checkpoint(run / "checkpoint.pt", checkpoint._replace(config=to_toml(tables)))
    train_run(read_config(run), run, resume=True)
    assert_equal_runs(tmp_path / "whole", run)


def test_the_first_of_equals_is_the_best() -> None:
    best = judged(None, 2.0, 10)
    assert judged(best, 2.0, 20) == Best(2.0, 10, 1)
    assert judged(best, 1.0, 20) == Best(1.0, 20)
    assert judged(Best(2.0, 10, then=0.5), 2.0, 20, 0.25) == Best(2.0, 20, then=0.25)
    assert judged(Best(2.0, 10, then=0.5), 2.0, 20, 0.5) == Best(2.0, 10, 1, then=0.5)
    assert is_exhausted(best._replace(waited=2), 2) and not is_exhausted(best, 1)
    assert not is_exhausted(best._replace(waited=9), None)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patience": 3}, r"train\.patience: expected train\.evaluate_every"),
        ({"keep_best": True}, r"train\.keep_best: expected train\.evaluate_every"),
        ({"ema": 1.0}, r"train\.ema: expected a value in \[0, 1\)"),
        ({"accumulate": 0}, r"train\.accumulate: expected at least 1"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        TrainConfig(**settings)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(tiny: Build, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"train\.device: expected a GPU"):
        train_run(tiny(train={"device": "cuda"}), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    train_run(tiny(train={"device": "auto", "max_updates": 1}), tmp_path / "auto")


def test_what_is_best_by_its_mistakes(tiny: Build, tmp_path: Path) -> None:
    """The first evaluation has the fewest wrong targets, whatever its loss."""
    found = {}
    for by in ("loss", "error"):
        often = {"evaluate_every": 1, "keep_best": True, "judge_by": by}
        outcome = train_run(tiny(train=often, optimizer={"lr": 0.1}), tmp_path / by)
        lines = [
            line["evaluation"]
            for line in read_metrics(tmp_path / by / "metrics.jsonl")
            if "evaluation" in line
        ]
        losses = [sum(part["loss"] for part in line) / 2 for line in lines]
        wrong = [sum(1 - part["accuracy"] for part in line) / 2 for line in lines]
        judged_by = losses if by == "loss" else wrong
        best = outcome.progress.best
        both = [*zip(judged_by, losses, strict=True)]
        assert best is not None and best.update == 1 + both.index(min(both))
        assert best.loss == pytest.approx(min(judged_by))
        found[by] = best.update
    assert found["loss"] != found["error"]
