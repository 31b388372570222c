"""Which batch rows: the masks of `reset`, of steps and of starts are bool [B], or refused."""

import numpy as np
import pytest
import torch

from sam import ShapeError
from tests.models.cases import IN, B, T, build, draw, models

WRONG = {
    "one for all": torch.tensor([True]),
    "a column": torch.ones(B, 1, dtype=torch.bool),
    "a row more": torch.ones(B + 1, dtype=torch.bool),
    "no dimension": torch.tensor(True),
    "integers": torch.ones(B, dtype=torch.int64),
    "bytes": torch.ones(B, dtype=torch.uint8),
    "elsewhere": torch.ones(B, dtype=torch.bool, device="meta"),
    "a list": [True] * B,
    "nothing": None,
}
WRONG_RESETS = WRONG | {
    "a list": [1, 0] * (B // 2),
    "a short list": [True],
    "an array of integers": np.ones(B, int),
    "a table": [[True] * B],
}


@models
def test_a_reset_takes_a_mask_of_batch_rows_alone(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected = model(inputs)[0][5:]
    _, state = model(inputs[:5])
    for mask in WRONG_RESETS.values():
        with pytest.raises(ShapeError, match=r"mask: expected bool \[B"):
            state.reset(mask)
    torch.testing.assert_close(model(inputs[5:], state)[0], expected, rtol=0, atol=1e-12)


@models
def test_a_reset_takes_lists_and_arrays(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    _, state = model(inputs[:5])
    mask, fresh = [True, False, False, True], model.initial_state(B)
    expected = model(inputs[5:], state.clone().reset(torch.tensor(mask), fresh))[0]
    for given in (mask, tuple(mask), np.array(mask)):
        found = model(inputs[5:], state.clone().reset(given, model.initial_state(B)))[0]
        assert torch.equal(found, expected)


@models
def test_a_step_takes_a_mask_of_batch_rows_alone(name, options):
    if name == "lstm":
        return
    cell = build(name, options).cell
    features = draw(B, cell.input_size)
    state = cell.initial_state(B)
    for mask in WRONG.values():
        if mask is not None:
            with pytest.raises(ShapeError, match=r"active: expected bool \[B"):
                cell(features, state, mask)
            if name in ("sam", "sdnc"):
                controls = cell.interface(draw(B, cell.controller.output_size))
                with pytest.raises(ShapeError, match=r"active: expected bool \[B"):
                    cell.memory.step(controls, state.memory, active=mask)


@models
def test_starts_are_on_the_device_of_the_inputs(name, options):
    model = build(name, options)
    starts = torch.zeros(T, B, dtype=torch.bool, device="meta")
    with pytest.raises(ShapeError, match="starts: expected bool on cpu"):
        model(draw(T, B, IN), starts=starts)
