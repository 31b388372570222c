"""The output layer is applied to h and r apart, without a copy of both; unless somebody looks."""

import pytest
import torch
from torch import nn

from tests.models.cases import IN, B, T, build, draw


class Own(nn.Linear):
    """An output layer of somebody else's class."""


def listened(model: nn.Module) -> None:
    model.output.register_forward_hook(lambda module, inputs, outputs: None)


def replaced(model: nn.Module) -> None:
    own = Own(model.output.in_features, model.output.out_features).to(model.output.weight)
    own.load_state_dict(model.output.state_dict())
    model.output = own


@pytest.mark.parametrize("name", ["sam", "dam"])
@pytest.mark.parametrize("change", [listened, replaced])
def test_the_layer_called_as_a_module_says_the_same(name, change):
    plain, model, inputs = build(name), build(name), draw(T, B, IN)
    change(model)
    found, expected = model(inputs)[0], plain(inputs)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for one, other in ((model, found), (plain, expected)):
        (gradient,) = torch.autograd.grad(other.sin().sum(), one.output.weight)
        torch.testing.assert_close(gradient, _by_hand(plain, inputs), rtol=0, atol=1e-12)


def _by_hand(model: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    """dL/dW of the output layer for L = sum sin(y), from every step's [h ; r]."""
    gradient, state = 0, model.initial_state(B)
    for given in inputs:
        hidden, state = model.cell(given, state)
        both = torch.cat([hidden, state.reads], 1).detach()
        outputs = both @ model.output.weight.t() + model.output.bias
        gradient = gradient + outputs.cos().t() @ both
    return gradient.detach()


def test_a_hook_is_given_both():
    model, seen = build("sam"), []
    model.output.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    model(draw(T, B, IN))
    assert seen == [(T, B, model.output.in_features)]


def test_another_module_in_the_place_of_the_dropout():
    plain, model, inputs = build("sam"), build("sam"), draw(T, B, IN)
    model.dropout = nn.Identity()
    torch.testing.assert_close(model(inputs)[0], plain(inputs)[0], rtol=0, atol=1e-12)
