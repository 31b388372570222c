"""What every registered model does: the contract of `sam.testing`, and what is ours beyond it."""

import pytest
import torch
from torch import nn

from sam import NonFiniteError, ShapeError
from sam.models import available_models
from sam.testing import ModelContract
from tests.models.cases import IN, SETTINGS, B, T, build, draw, models


@models
class TestEveryModel(ModelContract):
    @pytest.fixture(autouse=True)
    def chosen(self, name, options):
        self.name, self.options = name, options

    def make_model(self) -> nn.Module:
        return build(self.name, self.options, dtype=torch.float32)


def test_every_registered_model_has_settings_here():
    assert set(SETTINGS) == set(available_models())


@models
def test_streaming_takes_no_more_and_more_space(name, options):
    model, inputs = build(name, options), draw(40, 2, IN)
    state, sizes = None, []
    with torch.inference_mode():
        for _ in range(6):
            outputs, state = model(inputs, state)
            sizes.append(state.nbytes)
    assert outputs.isfinite().all()
    # By then every word of the small memory is in use.
    assert sizes[-1] == sizes[2]


@models
def test_traced_weights_are_shares_of_a_whole(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    trace = model(inputs, trace=True)[1].trace
    if name == "lstm":
        assert trace is None
        return
    for weights, slots in (
        (trace.read_weights, trace.read_slots),
        (trace.write_weights, trace.write_slots),
    ):
        assert (weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-6).all()
        if slots is None:  # a dense memory
            assert weights.shape[3] == model.cell.memory.memory_size
        else:
            assert slots.shape == weights.shape


@models
def test_trace_and_inference_change_no_bit(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected, _ = model(inputs)
    assert torch.equal(model(inputs, trace=True)[0], expected)
    with torch.no_grad():
        assert torch.equal(model(inputs)[0], expected)
    with torch.inference_mode():
        assert torch.equal(model(inputs)[0], expected)


@models
def test_wrong_inputs_name_what_was_expected(name, options):
    model = build(name, options)
    cases = [
        (draw(T, B, IN + 1), ShapeError, r"inputs: expected shape \[T, B, I=5\], got \[9, 4, 6\]"),
        (draw(IN), ShapeError, r"got \[5\]"),
        (draw(T, B, IN).float(), ShapeError, "float32"),
        (draw(T, B, IN).log(), NonFiniteError, "NaN"),
        ([1.0], ShapeError, "got list"),
    ]
    for inputs, error, text in cases:
        with pytest.raises(error, match=text):
            model(inputs)
    with pytest.raises(ShapeError, match="starts"):
        model(draw(T, B, IN), starts=torch.zeros(T, B + 1, dtype=torch.bool))
    with pytest.raises(ShapeError, match="starts: expected bool"):
        model(draw(T, B, IN), starts=torch.zeros(T, B))


@models
def test_a_state_of_another_model_is_named(name, options):
    model = build(name, options)
    _, state = model(draw(T, B, IN))
    with pytest.raises(ShapeError, match="state"):
        model(draw(T, B + 1, IN), state)
    with pytest.raises(ShapeError, match=r"state: expected this|state\.h: expected shape"):
        model(draw(T, B, IN), (draw(B, 12), draw(B, 12)))
    told = r"state: expected this model's \w+State.*, got .*\w+"
    for other in SETTINGS:
        if other != name:
            with pytest.raises(ShapeError, match=told):
                model(draw(T, B, IN), build(other).initial_state(B))
