"""States that grow: the texts of the errors, and that a larger model is what comes of it."""

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
