"""States of the built-in models, beyond the contract: errors, second passes, what is fed back."""

import importlib.util

import pytest
import torch

from sam import NonFiniteError, ShapeError, StaleStateError
from tests.models.cases import IN, B, T, build, draw

FORMS = (False, True) if importlib.util.find_spec("numba") else (False,)


def test_state_of_another_dtype_is_refused():
    _, state = build("sam")(draw(T, B, IN))
    with pytest.raises(ShapeError, match=r"state.reads: expected torch.float32"):
        build("sam", dtype=torch.float32)(draw(T, B, IN).float(), state)


def test_consumed_state_raises_and_changes_nothing():
    model, inputs = build("sam"), draw(T, B, IN)
    _, state = model(inputs)
    kept = state.clone()
    expected, after = model(inputs, state)
    with pytest.raises(StaleStateError, match=r"clone\(\)"):
        model(inputs, state)
    torch.testing.assert_close(model(inputs, kept)[0], expected, rtol=0, atol=1e-12)
    model(inputs, after)


@pytest.mark.parametrize("steps", [1, T])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        *((name, {"compiled": compiled}) for name in ("sam", "sdnc") for compiled in FORMS),
        ("sam", {"renormalise": False}),
        ("sam", {"controller": "gru"}),
    ],
)
def test_a_state_of_which_a_step_was_refused_is_not_used_again(name, options, steps):
    """Its memory was written to in place."""
    model, inputs = build(name, options), draw(T, B, IN)
    _, state = model(inputs)
    with torch.no_grad():
        model.cell.interface.linear.bias.fill_(torch.nan)
    with pytest.raises(NonFiniteError):
        model(inputs[:steps], state)
    with pytest.raises(StaleStateError):
        model(inputs[:steps], state)


def test_second_backward_raises():
    loss = build("sam")(draw(T, B, IN))[0].sum()
    loss.backward(retain_graph=True)
    with pytest.raises(StaleStateError, match="one backward pass"):
        loss.backward()


def test_last_reads_are_fed_back_to_the_controller():
    model, inputs = build("sam"), draw(T, B, IN)
    _, state = model(inputs)
    other = state.clone()._replace(reads=torch.zeros_like(state.reads))
    expected, _ = model(inputs[:1], state)
    found, _ = model(inputs[:1], other)
    assert not torch.allclose(found, expected)
