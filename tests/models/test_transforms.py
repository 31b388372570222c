"""Calls for which there is no form are refused in a line, and never give a wrong number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from sam.errors import StaleStateError, UnsupportedError
from sam.models import available_models
from tests.models.cases import IN, build, draw

MEMORIES = [name for name in available_models() if name != "lstm"]
memories = pytest.mark.parametrize("name", MEMORIES)
models = pytest.mark.parametrize("name", available_models())


def inputs() -> torch.Tensor:
    return draw(3, 2, IN)


@memories
def test_second_derivatives_are_refused(name: str) -> None:
    """Also where the incoming gradient is a constant, which torch's own mark lets pass."""
    model, given = build(name), inputs().requires_grad_()
    for loss in (torch.sum, lambda outputs: outputs.square().sum()):
        with pytest.raises(UnsupportedError, match="second derivatives"):
            torch.autograd.grad(loss(model(given)[0]), given, create_graph=True)
    with pytest.raises((UnsupportedError, StaleStateError)):
        torch.autograd.gradgradcheck(lambda x: model(x)[0].sum(), (given,))


def test_second_derivatives_of_the_baseline_are_right() -> None:
    model = build("lstm")
    assert torch.autograd.gradgradcheck(lambda x: model(x)[0], (draw(2, 1, IN).requires_grad_(),))


@models
def test_functional_call_takes_other_parameters(name: str) -> None:
    model, other = build(name), build(name)
    with torch.no_grad():
        for value in other.parameters():
            value.mul_(1.5)
    parameters = dict(other.named_parameters())
    found, _ = torch.func.functional_call(model, parameters, (inputs(),))
    torch.testing.assert_close(found, other(inputs())[0], rtol=0, atol=1e-12)
    found.square().sum().backward()
    grads = {key: value.grad for key, value in parameters.items()}
    other.zero_grad()
    expected = build(name)
    expected.load_state_dict(other.state_dict())
    expected(inputs())[0].square().sum().backward()
    torch.testing.assert_close(
        grads, {key: value.grad for key, value in expected.named_parameters()}, rtol=0, atol=1e-12
    )


TRANSFORMS: dict[str, Callable[[nn.Module, torch.Tensor], Any]] = {
    "grad": lambda model, x: torch.func.grad(lambda z: model(z)[0].sum())(x),
    "jacrev": lambda model, x: torch.func.jacrev(lambda z: model(z)[0].sum())(x),
    "jvp": lambda model, x: torch.func.jvp(lambda z: model(z)[0], (x,), (x,)),
}


@pytest.mark.filterwarnings("ignore:`torch.jit")  # of torch, as it loads its transforms
@pytest.mark.parametrize("transform", TRANSFORMS)
@models
def test_derivatives_of_torch_func_are_refused_or_right(name: str, transform: str) -> None:
    model = build(name).requires_grad_(False)
    if name == "lstm":
        TRANSFORMS[transform](model, inputs())
        return
    with pytest.raises(UnsupportedError, match=r"^(torch\.func|forward-mode)"):
        TRANSFORMS[transform](model, inputs())
    with forward_ad.dual_level(), pytest.raises(UnsupportedError, match="forward-mode"):
        model(forward_ad.make_dual(inputs(), inputs()))


@models
def test_vmap_is_refused(name: str) -> None:
    model, many = build(name), torch.stack([inputs(), inputs()])
    with pytest.raises(UnsupportedError, match=r"torch\.func"):
        torch.func.vmap(lambda x: model(x)[0])(many)


@models
@pytest.mark.filterwarnings("ignore")  # torch's, of exporting and tracing
def test_export_is_refused(name: str) -> None:
    model = build(name)
    with pytest.raises(UnsupportedError, match=r"^export: expected"):
        torch.export.export(model, (inputs(),), strict=False)
    with pytest.raises(UnsupportedError, match=r"^export: expected"):
        torch.jit.trace(model, (inputs(),))


@models
def test_a_call_on_the_meta_device_is_refused(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
        with pytest.raises(UnsupportedError, match=r"inputs: expected numbers.*to_empty"):
            model(torch.empty(3, 2, IN, dtype=torch.float64))


@pytest.mark.slow
@pytest.mark.timeout(600)
@models
@pytest.mark.filterwarnings("ignore")  # torch's, of what it does not trace
def test_a_compiled_model_gives_the_same(name: str) -> None:
    """It is traced step by step, with a graph break where the inputs are looked at."""
    torch._dynamo.reset()
    model = build(name)
    expected, _ = model(inputs())
    expected.square().sum().backward()
    grads = {key: value.grad.clone() for key, value in model.named_parameters()}
    model.zero_grad()
    found, _ = torch.compile(model, backend="eager")(inputs())
    found.square().sum().backward()
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    after = {key: value.grad for key, value in model.named_parameters()}
    torch.testing.assert_close(after, grads, rtol=0, atol=1e-12)
