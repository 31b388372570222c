"""A cell on its own: what it says of inputs of a wrong shape, in every form of its step."""

import importlib.util

import pytest
import torch
from torch import Tensor

from sam import MemoryCell, ShapeError
from sam.fast.dispatch import take_step
from sam.models import make_model
from tests.models.cases import IN, OUT, SETTINGS, B, draw

COMPILED = (False, True) if importlib.util.find_spec("numba") else (False,)
CASES = [(name, None) for name in SETTINGS if name not in ("lstm", "sam", "sdnc")]
CASES += [(name, compiled) for name in ("sam", "sdnc") for compiled in COMPILED]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("call", [MemoryCell.__call__, take_step])
@pytest.mark.parametrize(("name", "compiled"), CASES)
def test_inputs_of_another_shape_are_refused(name, compiled, call, steps):
    """Before a step and after some: a step leaves word for the next one what it need not check."""
    options = {} if compiled is None else {"compiled": compiled}
    cell = make_model(name, IN, OUT, **SETTINGS[name], **options).double().cell
    state = cell.initial_state(B)
    for inputs in draw(steps, B, IN):
        _, state = call(cell, inputs, state)
    right = draw(B, IN)
    for wrong in (right[:, 1:], torch.cat([right, right], 1), right[0, 1:], right[None], [1.0]):
        got = [*wrong.shape] if isinstance(wrong, Tensor) else "list"
        with pytest.raises(ShapeError) as refused:
            call(cell, wrong, state)
        assert str(refused.value) == f"inputs: expected shape [B, I={IN}], got {got}"
    with pytest.raises(ShapeError, match=r"^state\.reads: expected .* \[B=1"):
        call(cell, right[0], state)  # a batch of one
    assert call(cell, right, state)[0].isfinite().all(), "the state was not consumed"


@pytest.mark.parametrize("call", [MemoryCell.__call__, take_step])
@pytest.mark.parametrize(("name", "compiled"), CASES)
def test_inputs_without_a_batch_are_a_batch_of_one(name, compiled, call):
    options = {} if compiled is None else {"compiled": compiled}
    cell = make_model(name, IN, OUT, **SETTINGS[name], **options).double().cell
    state, other = cell.initial_state(1), cell.initial_state(1)
    for inputs in draw(3, IN):
        found, state = call(cell, inputs, state)
        expected, other = call(cell, inputs[None], other)
        assert found.shape == (cell.controller.output_size,)
        torch.testing.assert_close(found, expected[0], rtol=0, atol=1e-12)
        assert state.batch_size == 1
    assert torch.equal(cell(inputs)[0], cell(inputs, hx=cell.initial_state(1))[0])
