"""The optimizer: its settings, what one update does by hand, and gradients of a bounded length."""

import math
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from sam.train.folder import build_model
from sam.train.optimizer import clear_gradients, clip_gradients, make_optimizer, optimized
from sam.train.train_config import OptimizerConfig, RunConfig


def layers(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(7, 5), nn.Linear(5, 33))


def with_gradients(model: nn.Module, scale: float = 1.0, seed: int = 1) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    parameters: list[torch.Tensor] = [*model.parameters()]
    for parameter in parameters:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator)
    return parameters


def test_optimizers_take_their_settings(tiny: Callable[..., RunConfig]) -> None:
    model = build_model(tiny())
    adam = make_optimizer(OptimizerConfig(lr=0.5, betas=(0.1, 0.2)), model)
    assert isinstance(adam, torch.optim.Adam)
    assert adam.defaults["lr"] == 0.5
    assert adam.defaults["betas"] == (0.1, 0.2)
    rmsprop = make_optimizer(OptimizerConfig(name="rmsprop", momentum=0.9, decay=0.5), model)
    assert isinstance(rmsprop, torch.optim.RMSprop)
    assert rmsprop.defaults["momentum"] == 0.9
    assert rmsprop.defaults["alpha"] == 0.5
    for optimizer in (adam, rmsprop):
        assert {id(p) for p in optimized(optimizer)} == {id(p) for p in model.parameters()}


def test_adam_follows_its_equations() -> None:
    """m <- b1 m + (1 - b1) g, v <- b2 v + (1 - b2) g^2, p <- p - lr m^ / (sqrt(v^) + 1e-8)."""
    config = OptimizerConfig(lr=0.01, betas=(0.8, 0.95))
    model = layers()
    optimizer = make_optimizer(config, model)
    expected = [p.detach().double().numpy().copy() for p in model.parameters()]
    first, second = ([np.zeros_like(p) for p in expected] for _ in range(2))
    for step in range(1, 6):
        parameters = with_gradients(model, seed=step)
        for place, parameter in enumerate(parameters):
            assert parameter.grad is not None
            gradient = parameter.grad.double().numpy()
            first[place] = 0.8 * first[place] + 0.2 * gradient
            second[place] = 0.95 * second[place] + 0.05 * gradient**2
            mean, square = first[place] / (1 - 0.8**step), second[place] / (1 - 0.95**step)
            expected[place] -= 0.01 * mean / (np.sqrt(square) + 1e-8)
        optimizer.step()
        for parameter, wanted in zip(parameters, expected, strict=True):
            np.testing.assert_allclose(parameter.detach().numpy(), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_a_saved_optimizer_goes_on_bit_for_bit(name: str) -> None:
    config = OptimizerConfig(name=name)  # type: ignore[arg-type]
    model, other = layers(), layers()
    whole, broken = make_optimizer(config, model), make_optimizer(config, other)
    for step in range(6):
        if step == 3:
            saved = broken.state_dict()
            broken = make_optimizer(config, other)
            broken.load_state_dict(saved)
        for optimizer, of in ((whole, model), (broken, other)):
            with_gradients(of, seed=step)
            optimizer.step()
    for parameter, expected in zip(model.parameters(), other.parameters(), strict=True):
        assert parameter.detach().numpy().tobytes() == expected.detach().numpy().tobytes()


@pytest.mark.parametrize("longest", [1e-6, 0.5, 3.0])
def test_long_gradients_are_scaled_as_one_vector(longest: float) -> None:
    parameters = with_gradients(layers())
    before = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    norm = clip_gradients(parameters, longest)
    after = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
    length = math.sqrt(sum(float(x) ** 2 for x in before))
    assert norm == pytest.approx(length, rel=1e-6)
    assert norm > longest
    torch.testing.assert_close(after, before * (longest / length))


@pytest.mark.parametrize("longest", [1e9, math.inf])
def test_short_gradients_stay_as_they_are(longest: float) -> None:
    parameters = with_gradients(layers(), scale=1e-3)
    before = [p.grad.clone() for p in parameters if p.grad is not None]
    assert clip_gradients(parameters, longest) < 1
    for parameter, gradient in zip(parameters, before, strict=True):
        assert parameter.grad is not None
        assert torch.equal(parameter.grad, gradient)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_not_finite_is_told(bad: float) -> None:
    parameters = with_gradients(layers())
    assert parameters[1].grad is not None
    parameters[1].grad[2] = bad
    assert not math.isfinite(clip_gradients(parameters, 1.0))


def test_parameters_without_a_gradient_are_left_out() -> None:
    parameters = with_gradients(layers())
    whole = clip_gradients(parameters, math.inf)
    parameters[0].grad = None
    assert 0 < clip_gradients(parameters, math.inf) < whole
    clear_gradients(parameters)
    assert all(parameter.grad is None for parameter in parameters)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_in_few_calls_equals_that_of_torch_bit_for_bit(name: str) -> None:
    """With a schedule, a weight decay, and a parameter that has no gradient at some updates."""
    config = OptimizerConfig(name=name, lr=0.01, weight_decay=0.1)  # type: ignore[arg-type]
    models = layers(), layers()
    ours = make_optimizer(config, models[0])
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    assert isinstance(ours, kind) and type(ours) is not kind
    settings = {"lr": 0.01, "betas": config.betas, "weight_decay": 0.1}
    pairs = [(models[0], ours), (models[1], kind(models[1].parameters(), fused=True, **settings))]
    schedules = [torch.optim.lr_scheduler.StepLR(of, 2, 0.5) for _, of in pairs]
    for step in range(6):
        for (model, optimizer), schedule in zip(pairs, schedules, strict=True):
            parameters = with_gradients(model, seed=step)
            if step in (2, 3):
                parameters[1].grad = None
            optimizer.step()
            schedule.step()
    first, second = ([p.detach().numpy().tobytes() for p in m.parameters()] for m in models)
    assert first == second
    states = [optimizer.state_dict()["state"] for _, optimizer in pairs]
    for place, state in states[0].items():
        assert {*state} == {*states[1][place]}
        for key, value in state.items():
            assert value.numpy().tobytes() == states[1][place][key].numpy().tobytes()


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop"])
def test_torchs_compiler_is_not_loaded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes seconds. The numbers are those of the optimizer of torch, which loads it."""
    models, config = (layers(), layers()), OptimizerConfig(name=name, lr=0.01)  # type: ignore[arg-type]
    with monkeypatch.context() as patch:
        patch.delitem(sys.modules, "torch._dynamo", raising=False)
        ours = make_optimizer(config, models[0])
        for step in range(4):
            if step == 2:
                saved, ours = ours.state_dict(), make_optimizer(config, models[0])
                ours.load_state_dict(saved)
            ours.zero_grad()
            with_gradients(models[0], seed=step)
            ours.step()
        assert "torch._dynamo" not in sys.modules
    settings = {"alpha": config.decay} if name == "rmsprop" else {"fused": True, "weight_decay": 0}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}.get(name, torch.optim.RMSprop)
    assert isinstance(ours, kind)
    theirs = kind(models[1].parameters(), lr=0.01, **settings)
    for step in range(4):
        with_gradients(models[1], seed=step)
        theirs.step()
    first, second = ([p.detach().numpy().tobytes() for p in m.parameters()] for m in models)
    assert first == second
