"""States that grow: the same model goes on with more words."""

import pytest
import torch

from sam import ConfigError
from tests.models.cases import IN, SETTINGS, B, T, build, draw, models

with_memory = pytest.mark.parametrize("name", [n for n in SETTINGS if "memory_size" in SETTINGS[n]])


@models
def test_growing_needs_a_memory_and_more_words(name, options):
    model = build(name, options)
    _, state = model(draw(T, B, IN))
    if name == "lstm":
        with pytest.raises(ConfigError, match="expected a model with a memory, got LSTM"):
            state.resize(100)
        return
    size = (SETTINGS[name] | options)["memory_size"]
    with pytest.raises(ConfigError, match=rf"memory_size: expected at least the {size}"):
        state.resize(size - 1)
    with pytest.raises(ConfigError, match="memory_size: expected an integer of at least 1"):
        state.resize(0)


@with_memory
def test_a_fresh_state_that_grew_is_that_of_the_larger_model(name):
    small, large = build(name), build(name, {"memory_size": 200})
    large.load_state_dict(small.state_dict())
    inputs = draw(T, B, IN)
    found, _ = small(inputs, small.initial_state(B).resize(200))
    torch.testing.assert_close(found, large(inputs)[0], rtol=0, atol=1e-12)


@with_memory
def test_a_used_state_goes_on_with_gradient_and_starts(name):
    model, inputs = build(name, {"memory_size": 10}), draw(T, B, IN).requires_grad_()
    _, state = model(inputs)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[2, 1] = True
    outputs, state = model(inputs * 0.5, state.resize(30), starts=starts)
    assert outputs.isfinite().all()
    outputs.sum().backward()
    assert inputs.grad is not None and inputs.grad.isfinite().all() and inputs.grad.any()
    # What began anew is as in a model that had the larger memory from the start.
    large = build(name, {"memory_size": 30})
    alone, _ = large(inputs[2:, 1:2] * 0.5)
    torch.testing.assert_close(outputs[2:, 1:2], alone, rtol=0, atol=1e-12)
