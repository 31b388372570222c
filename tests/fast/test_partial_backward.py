"""A backward pass that ends before the first step leaves nothing to the next one."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from sam import SAM, SDNC
from sam.cell import CellState
from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import IN, build, draw, floats

pytest.importorskip("numba")


def stepped(model: Any, given: Tensor, state: Any) -> tuple[Tensor, Any]:
    parts = []
    for inputs in given:
        hidden, state = take_step(model.cell, inputs, state)
        parts.append(hidden)
    return torch.stack(parts), state


def called(model: Any, given: Tensor, state: Any) -> tuple[Tensor, Any]:
    return model(given, state)


def gradients(model: Any, loss: Tensor) -> list[Tensor]:
    model.zero_grad()
    loss.backward()
    return [p.grad.clone() for p in model.parameters() if p.grad is not None]


def end_at(state: Any, loss: Tensor) -> None:
    """The gradients of a state's parts alone, from what came after it."""
    parts = [tensor for tensor in floats(state) if tensor.requires_grad]
    found = torch.autograd.grad(loss, parts, allow_unused=True)
    assert any(grad is not None and grad.any() for grad in found)


def assert_nothing_left(model: Any, scenario: Callable[[bool], Tensor]) -> None:
    """A scenario, told whether to take a pass that ends early, returns the loss of the next."""
    wanted = gradients(model, scenario(False))
    found = gradients(model, scenario(True))
    assert len(wanted) > 2
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0.0, atol=0.0)


@pytest.mark.parametrize("model_type", [SAM, SDNC])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("form", [stepped, called])
@pytest.mark.parametrize("controller", ["lstm", "gru"])
def test_earlier_outputs_after_a_pass_to_a_later_state(model_type, compiled, form, controller):
    model = build(compiled, model_type=model_type, controller=controller)
    given = draw(9, 2, IN)

    def scenario(ends: bool) -> Tensor:
        early, state = form(model, given[:4], model.initial_state(2))
        _, middle = form(model, given[4:5], state)
        late, _ = form(model, given[5:], middle)
        if ends:
            end_at(middle, late.square().sum())
        return early.square().sum()

    assert_nothing_left(model, scenario)


@pytest.mark.parametrize("model_type", [SAM, SDNC])
@pytest.mark.parametrize(
    "source", [lambda state: state.clone(), lambda state: CellState.cat([state])]
)
def test_a_copy_of_the_memory(model_type, source):
    """A pass through what follows one of both, then one through what follows the other."""
    model = build(True, model_type=model_type)
    given = draw(9, 2, IN)

    for swaps in (False, True):

        def scenario(ends: bool, swaps: bool = swaps) -> Tensor:
            _, state = stepped(model, given[:4], model.initial_state(2))
            one, other = (source(state), state) if swaps else (state, source(state))
            _, middle = stepped(model, given[4:6], one)
            late, _ = stepped(model, given[6:], middle)
            if ends:
                end_at(middle, late.square().sum())
            return stepped(model, given[4:], other)[0].square().sum()

        assert_nothing_left(model, scenario)
