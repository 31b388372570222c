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
    for wrong in (right[:, 1:], torch.cat([right, right], 1), right[0], right[None], [1.0]):
        got = [*wrong.shape] if isinstance(wrong, Tensor) else "list"
        with pytest.raises(ShapeError) as refused:
            call(cell, wrong, state)
        assert str(refused.value) == f"inputs: expected shape [B, I={IN}], got {got}"
    assert call(cell, right, state)[0].isfinite().all(), "the state was not consumed"
