"""Compiled sequences and steps against central differences, for parameters and inputs."""

import pytest
import torch
from torch.func import functional_call

from tests.fast.compiled_and_plain import build, draw, projected, watched
from tests.reference.finite_differences import check_gradients

pytest.importorskip("numba")

SIZES = {"hidden_size": 3, "memory_size": 6, "word_size": 3, "num_heads": 2, "top_k": 2}


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({}, "sequence"),
        ({"shared_write": True, "strength": "softplus"}, "sequence"),
        ({"controller": "gru"}, "sequence"),
        ({"controller": "other"}, "step"),
    ],
)
def test_unrolled_model_against_finite_differences(options, path):
    steps, batch = 4, 2
    model = build(True, **SIZES, **options)
    named = dict(model.named_parameters())
    # With 3 words of 6 there is one to read at the first step, and later one to write over.
    words = draw(batch, 3, 3, seed=6)
    chosen = []

    def run(inputs, *parameters):
        given = dict(zip(named, parameters, strict=True))
        state = model.initial_state(batch, words=words)
        outputs, state = functional_call(model, given, (inputs, state))
        chosen.append(state.memory.read_weights.slots.clone())
        return projected([outputs, state.reads, state.memory.read_weights.values])

    inputs = draw(steps, batch, model.input_size)
    with watched() as paths:
        check_gradients(run, [inputs, *named.values()])
    assert set(paths) == {path}
    assert all(torch.equal(slots, chosen[0]) for slots in chosen), "the choice of words changed"
    assert (chosen[0] >= 0).all() and len(chosen) > 200
