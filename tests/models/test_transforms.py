"""Calls for which there is no form are refused in a line, and never give a wrong number."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad

from index.compiled import is_compiled
from sam import once_differentiable
from sam.errors import UnsupportedError
from sam.models import available_models
from tests.models.cases import IN, build, draw

# Torch's, as it loads its transforms, and of what it computes one by one inside of them.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore:There is a performance drop"),
]
SPARSE = ("sam", "sdnc")
models = pytest.mark.parametrize("name", available_models())
DENSE_FORMS = [
    ("ntm", {}),
    ("ntm", {"addressing": "content", "controller": "gru"}),
    ("dam", {}),
    ("dam", {"shared_write": True, "strength": "none", "embedding_size": 4}),
    ("dnc", {}),
    ("dnc", {"num_writes": 2, "deallocate": True, "sharpen_links": True}),
    ("dnc", {"masked": True, "mask_floor": 0.1}),
]
SPARSE_FORMS = [
    ("sam", {"compiled": False}),
    ("sam", {"compiled": False, "renormalise": False}),
    ("sam", {"compiled": False, "similarity": "euclidean", "strength": "none"}),
    ("sam", {"compiled": False, "shared_write": True, "controller": "gru"}),
    ("sdnc", {"compiled": False}),
]
if is_compiled(None, torch.device("cpu"), torch.float32):
    SPARSE_FORMS += [(name, {"compiled": True}) for name in SPARSE]
    SPARSE_FORMS += [("sam", {"compiled": True, "controller": "gru"})]


def inputs() -> torch.Tensor:
    return draw(3, 2, IN)


def loss_of(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor]:
    return lambda given: model(given)[0].square().sum()


@pytest.mark.parametrize(("name", "options"), SPARSE_FORMS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("steps", [1, 6])  # whole sequences are one operation
def test_second_derivatives_of_sparse_models_are_refused(
    name: str, options: dict, dtype: torch.dtype, steps: int
) -> None:
    """Also where the incoming gradient is a constant, which torch's own mark lets pass."""
    model = build(name, options, dtype=dtype)
    given = draw(steps, 2, IN).to(dtype).requires_grad_()
    for loss in (torch.sum, lambda outputs: outputs.square().sum()):
        for wanted in (given, model.cell.interface.linear.weight):
            with pytest.raises(UnsupportedError, match=r"^second derivatives: expected"):
                torch.autograd.grad(loss(model(given)[0]), wanted, create_graph=True)
    functional = torch.autograd.functional
    for ask in (functional.hvp, functional.vhp):
        with pytest.raises(UnsupportedError, match=r"^second derivatives: expected"):
            ask(loss_of(model), given.detach(), torch.ones_like(given))
    with pytest.raises(UnsupportedError, match=r"^second derivatives: expected"):
        functional.hessian(loss_of(model), given.detach())
    for transform in (torch.func.grad, torch.func.hessian, torch.func.jacrev):
        with pytest.raises(UnsupportedError, match=r"^(torch\.func|forward-mode)"):
            transform(loss_of(model))(given.detach())


class Twice:
    """Gradients of inputs and parameters, and those of their product with a random vector."""

    def __init__(self, name: str, options: dict) -> None:
        self.model, self.given = build(name, options), inputs().requires_grad_()
        self.places = [self.given, *self.model.parameters()]
        self.vector = [torch.randn_like(place) for place in self.places]

    def first(self, **kind: bool) -> list[torch.Tensor]:
        return [*torch.autograd.grad(loss_of(self.model)(self.given), self.places, **kind)]

    def second(self) -> list[torch.Tensor]:
        graph = self.first(create_graph=True)
        torch.testing.assert_close(graph, self.first(), rtol=0, atol=1e-12)
        along = sum((g * v).sum() for g, v in zip(graph, self.vector, strict=True))
        return [*torch.autograd.grad(along, self.places)]

    def difference(self, step: float) -> list[torch.Tensor]:
        """What `second` is, from the gradients at two places."""
        found = []
        for by in (step, -2 * step, step):
            with torch.no_grad():
                for place, along in zip(self.places, self.vector, strict=True):
                    place.add_(along, alpha=by)
            found.append(self.first())
        return [(a - b) / (2 * step) for a, b in zip(*found[:2], strict=True)]


@pytest.mark.parametrize(("name", "options"), DENSE_FORMS)
def test_second_derivatives_of_dense_models_are_right(
    name: str, options: dict, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the plain forms, and of differences. Of a DNC a difference is something else: no
    gradient flows through the write weights in its usages."""
    twice = Twice(name, options)
    found = twice.second()
    if name != "dnc":
        torch.testing.assert_close(found, twice.difference(1e-5), rtol=1e-5, atol=1e-7)
        found = twice.second()
    monkeypatch.setattr(once_differentiable, "in_transform", lambda: True)
    torch.testing.assert_close(found, twice.second(), rtol=0, atol=1e-11)


@pytest.mark.parametrize(("name", "options"), DENSE_FORMS)
def test_second_derivatives_agree_however_they_are_asked_for(name: str, options: dict) -> None:
    model, given = build(name, options).requires_grad_(False), inputs()
    vector, loss = torch.ones_like(given), loss_of(model)
    expected = torch.autograd.functional.hvp(loss, given, vector)[1]
    hessian = torch.func.hessian(loss)(given).reshape(given.numel(), -1)
    torch.testing.assert_close(hessian.sum(1).view_as(given), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(hessian, hessian.T, rtol=0, atol=1e-12)
    penalty = torch.autograd.grad(loss(given.requires_grad_()), given, create_graph=True)[0]
    (found,) = torch.autograd.grad(penalty.square().sum(), given)
    product = hessian @ penalty.detach().view(-1)
    torch.testing.assert_close(found.view(-1), 2 * product, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["dam", "ntm", "dnc"])
def test_a_penalty_on_gradients_trains(name: str) -> None:
    """In float32, with all parameters, as WGAN-GP has it."""
    model, given = build(name, dtype=torch.float32), inputs().float().requires_grad_()
    (grad,) = torch.autograd.grad(model(given)[0].sum(), given, create_graph=True)
    (grad.square().sum() + model(given)[0].square().sum()).backward()
    assert all(value.grad.isfinite().all() for value in model.parameters())


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


TRANSFORMS: dict[str, Callable[[Any, torch.Tensor], Any]] = {
    "grad": lambda model, x: torch.func.grad(loss_of(model))(x),
    "jacrev": lambda model, x: torch.func.jacrev(loss_of(model))(x),
    "vjp": lambda model, x: torch.func.vjp(loss_of(model), x)[1](torch.ones(()).double())[0],
    "jacfwd": lambda model, x: torch.func.jacfwd(loss_of(model))(x),
}


@pytest.mark.parametrize("transform", TRANSFORMS)
@models
def test_derivatives_of_torch_func_are_refused_or_right(name: str, transform: str) -> None:
    model = build(name).requires_grad_(False)
    if name in SPARSE:
        with pytest.raises(UnsupportedError, match=r"^(torch\.func|forward-mode)"):
            TRANSFORMS[transform](model, inputs())
        with forward_ad.dual_level(), pytest.raises(UnsupportedError, match="forward-mode"):
            model(forward_ad.make_dual(inputs(), inputs()))
        return
    given = inputs().requires_grad_()
    (expected,) = torch.autograd.grad(loss_of(model)(given), given)
    found = TRANSFORMS[transform](model, inputs())
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@models
def test_vmap_is_refused(name: str) -> None:
    model, many = build(name), torch.stack([inputs(), inputs()])
    with pytest.raises(UnsupportedError, match=r"torch\.func"):
        torch.func.vmap(lambda x: model(x)[0])(many)
    with pytest.raises(UnsupportedError, match=r"torch\.func"):
        torch.func.vmap(torch.func.grad(loss_of(model)))(many)


@models
@pytest.mark.filterwarnings("ignore")  # torch's, of exporting and tracing
def test_export_is_refused(name: str) -> None:
    model = build(name)
    with pytest.raises(UnsupportedError, match=r"^export: expected"):
        torch.export.export(model, (inputs(),), strict=False)
    with pytest.raises(UnsupportedError, match=r"^export: expected"):
        torch.jit.trace(model, (inputs(),))
    with pytest.raises(UnsupportedError, match=r"^torch\.jit\.script: expected"):
        torch.jit.script(nn.Sequential(nn.Linear(IN, IN), model))


@models
def test_a_call_on_the_meta_device_is_refused(name: str) -> None:
    with torch.device("meta"):
        model = build(name)
        with pytest.raises(UnsupportedError, match=r"inputs: expected numbers.*to_empty"):
            model(torch.empty(3, 2, IN, dtype=torch.float64))
