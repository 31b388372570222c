"""States of every model: copies, resets, and that a consumed one is refused."""

import copy
import importlib.util
import pickle

import pytest
import torch

from sam import NonFiniteError, ShapeError, StaleStateError
from sam.models import make_model
from tests.models.cases import IN, OUT, SETTINGS, B, T, build, draw, models

FORMS = (False, True) if importlib.util.find_spec("numba") else (False,)


@models
def test_state_survives_clone_detach_pickle_and_deepcopy(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected = model(inputs)[0][5:]
    for copier in (
        lambda s: s.clone(),
        lambda s: s.detach(),
        lambda s: s.to("cpu"),
        lambda s: copy.deepcopy(s.detach()),
        lambda s: pickle.loads(pickle.dumps(s.detach())),
    ):
        _, state = model(inputs[:5])
        other = copier(state)
        found, _ = model(inputs[5:], other)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@models
def test_a_clone_is_independent_and_gives_gradients(name, options):
    model, inputs = build(name, options), draw(T, B, IN).requires_grad_()
    whole = torch.autograd.grad(model(inputs)[0][5:].sum() * 2, inputs)[0]
    _, state = model(inputs[:5])
    other = state.clone()
    first, _ = model(inputs[5:], state)
    second, _ = model(inputs[5:], other)
    torch.testing.assert_close(first, second, rtol=0, atol=1e-12)
    (first.sum() + second.sum()).backward()
    torch.testing.assert_close(inputs.grad, whole, rtol=1e-9, atol=1e-12)


@models
def test_model_survives_deepcopy_pickle_and_state_dict(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected, _ = model(inputs)
    fresh = make_model(name, IN, OUT, **(SETTINGS[name] | options)).double()
    fresh.load_state_dict(model.state_dict())
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), fresh):
        assert torch.equal(other(inputs)[0], expected)


@models
def test_reset_of_a_state_is_a_fresh_start(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    _, state = model(inputs)
    found, _ = model(inputs, state.reset(torch.tensor([True, False, True, True])))
    expected, _ = model(inputs)
    rows = [0, 2, 3]
    torch.testing.assert_close(found[:, rows], expected[:, rows], rtol=0, atol=1e-12)
    assert not torch.allclose(found[:, 1], expected[:, 1])


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
