"""What a run tells of its memory, and which quantity it names when training cannot go on."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from sam import make_model
from sam.errors import ConfigError, DivergedError
from sam.models import available_models
from sam.monitor import GateWatch
from sam.train.folder import build_model
from sam.train.lines import read_metrics
from sam.train.loop import first_progress, updates
from sam.train.optimizer import make_optimizer
from sam.train.run import train_run
from sam.train.train_config import RunConfig
from sam.train.watch import memory_in_use

Build = Callable[..., RunConfig]


@pytest.mark.parametrize("name", sorted({*available_models()} - {"lstm", "ntm"}))
def test_the_gates_are_those_of_all_steps(name: str) -> None:
    model = make_model(name, 3, 2, hidden_size=5, memory_size=8, word_size=4).double()
    inputs = torch.randn(6, 2, 3, dtype=torch.float64)
    seen = []
    with GateWatch() as watch:
        outputs, _ = model(inputs)
    # Step by step with a hook on the interface, which sees the controls themselves.
    model.cell.interface.register_forward_hook(lambda _, __, out: seen.append(out.write_gates))
    assert torch.allclose(model(inputs)[0], outputs)
    assert watch.mean == pytest.approx(torch.stack(seen).mean().item(), abs=1e-12)


@pytest.mark.parametrize("name", ["lstm", "ntm"])
def test_a_model_without_write_gates_has_none(name: str) -> None:
    with GateWatch() as watch:
        make_model(name, 3, 2)(torch.zeros(2, 1, 3))
    assert watch.mean is None


def test_the_share_of_memory_in_use_follows_the_words_written() -> None:
    sizes = {"hidden_size": 5, "memory_size": 64, "word_size": 4, "num_heads": 2, "top_k": 2}
    _, state = make_model("sam", 3, 2, **sizes)(torch.randn(5, 2, 3))
    assert memory_in_use(state) == pytest.approx(5 * 2 / 64)
    _, state = make_model("sam", 3, 2, **sizes)(torch.randn(50, 2, 3))
    assert memory_in_use(state) == 1.0
    dense = {"hidden_size": 5, "memory_size": 8, "word_size": 4}
    _, state = make_model("dnc", 3, 2, **dense)(torch.randn(5, 2, 3))
    used = memory_in_use(state)
    assert used == pytest.approx(state.memory.usage.mean().item())
    _, state = make_model("dam", 3, 2, **dense)(torch.randn(5, 2, 3))
    assert memory_in_use(state) is None


def test_logged_updates_are_looked_at_and_none_is_changed(tiny: Build, tmp_path: Path) -> None:
    train_run(tiny(train={"log_every": 4}), tmp_path / "run")
    train_run(tiny(train={"log_every": 1}), tmp_path / "every")
    lines, every = (read_metrics(tmp_path / n / "metrics.jsonl") for n in ("run", "every"))
    assert [line["update"] for line in lines] == [4, 8, 12]
    assert lines == every[3::4]
    for line in lines:
        assert 0 < line["write_gate"] < 1
        assert 0 < line["memory_in_use"] <= 1
        assert line["learning_rate"] == 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"max_loss": 1e-3},
            r"loss: expected at most train\.max_loss = 0\.001 bits, got .*update 1",
        ),
        ({"max_gradient_norm": 1e-3}, r"gradient norm: expected at most train\.max_gradient_norm"),
    ],
)
def test_an_exploding_run_ends_at_its_last_checkpoint(
    tiny: Build, tmp_path: Path, settings: dict[str, float], message: str
) -> None:
    with pytest.raises(DivergedError, match=message):
        train_run(tiny(train=settings), tmp_path / "run")
    # The bound may be moved when the run goes on.
    assert train_run(tiny(), tmp_path / "run", resume=True).progress.update == 12
    with pytest.raises(ConfigError, match="expected above 0"):
        tiny(train=dict.fromkeys(settings, 0.0))


def test_a_step_that_leaves_the_finite_is_named_and_not_saved(tiny: Build, tmp_path: Path) -> None:
    config = tiny(optimizer={"lr": 3e38, "clip_norm": 1.0}, train={"checkpoint_every": 1})
    with pytest.raises(DivergedError, match=r"parameter .*: expected finite values after update"):
        train_run(config, tmp_path / "run")
    saved = torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)
    assert all(bool(value.isfinite().all()) for value in saved["model"].values())


def first_fault(config: RunConfig, break_it: Callable[[torch.nn.Module], None]) -> str:
    model = build_model(config)
    optimizer = make_optimizer(config.optimizer, model)
    running = updates(model, optimizer, config, first_progress(config))
    next(running)
    break_it(model)
    with pytest.raises(DivergedError) as caught:
        next(running)
    return str(caught.value)


def test_what_went_first_is_named(tiny: Build) -> None:
    def bad_outputs(model: torch.nn.Module) -> None:
        model.register_forward_hook(lambda _, __, out: (out[0] * math.inf, out[1]))

    def bad_gradient(model: torch.nn.Module) -> None:
        model.output.bias.register_hook(lambda gradient: gradient * math.nan)

    def bad_parameter(model: torch.nn.Module) -> None:
        model.cell.interface.linear.weight.data[0, 0] = math.nan

    config = tiny()
    assert first_fault(config, bad_outputs).startswith("outputs: expected a finite value, got ")
    assert first_fault(config, bad_gradient).startswith("gradient of output.bias: expected a fin")
    named = "parameter cell.interface.linear.weight: expected finite values after update 1, got nan"
    assert first_fault(config, bad_parameter).startswith(named)
