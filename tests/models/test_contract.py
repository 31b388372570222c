"""What every model does, over the registry: call, chunks, starts, batch, dtypes, bad input."""

import itertools

import pytest
import torch

from sam import NonFiniteError, ShapeError
from sam.models import available_models
from tests.models.cases import IN, OUT, SETTINGS, B, T, build, draw, models


def test_every_registered_model_has_settings_here():
    assert set(SETTINGS) == set(available_models())


@models
def test_outputs_and_state_of_a_call(name, options):
    model = build(name, options)
    outputs, state = model(draw(T, B, IN))
    assert outputs.shape == (T, B, OUT) and outputs.isfinite().all()
    assert state.nbytes > 0 and state.trace is None
    again, _ = build(name, options)(draw(T, B, IN))
    assert torch.equal(outputs, again), "two calls from the same start must agree"


@models
def test_chunks_equal_one_call(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    whole, _ = model(inputs)
    state, parts = None, []
    for part in inputs.split([1, 4, 4]):
        outputs, state = model(part, state)
        parts.append(outputs)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=0, atol=1e-12)


@models
def test_starts_equal_separate_episodes(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[3, 0] = starts[5, 1] = starts[7, 1] = starts[0, 2] = True
    together, _ = model(inputs, starts=starts)
    cuts = {0: [0, 3, T], 1: [0, 5, 7, T], 2: [0, T], 3: [0, T]}
    for row, places in cuts.items():
        for begin, end in itertools.pairwise(places):
            alone, _ = model(inputs[begin:end, row : row + 1])
            torch.testing.assert_close(
                alone, together[begin:end, row : row + 1], rtol=0, atol=1e-12
            )


@models
def test_gradient_does_not_cross_a_start(name, options):
    model, inputs = build(name, options), draw(T, 2, IN).requires_grad_()
    starts = torch.zeros(T, 2, dtype=torch.bool)
    starts[4, 0] = True
    outputs, _ = model(inputs, starts=starts)
    outputs[6:].sum().backward()
    assert inputs.grad is not None
    assert not inputs.grad[:4, 0].any() and inputs.grad[:4, 1].any() and inputs.grad[4:7, 0].any()


@models
def test_batch_rows_are_independent_and_permutable(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    outputs, _ = model(inputs)
    order = torch.tensor([2, 0, 3, 1])
    permuted, _ = model(inputs[:, order])
    torch.testing.assert_close(permuted, outputs[:, order], rtol=0, atol=1e-12)
    changed = inputs.clone()
    changed[:, 0] += 1
    torch.testing.assert_close(model(changed)[0][:, 1:], outputs[:, 1:], rtol=0, atol=1e-12)


@models
def test_batch_first_is_a_transpose(name, options):
    inputs = draw(T, B, IN)
    outputs, _ = build(name, options)(inputs)
    model = build(name, options, batch_first=True)
    starts = torch.zeros(B, T, dtype=torch.bool)
    found, _ = model(inputs.transpose(0, 1), starts=starts)
    assert found.shape == (B, T, OUT)
    torch.testing.assert_close(found.transpose(0, 1), outputs, rtol=0, atol=1e-12)


@models
def test_every_parameter_gets_a_finite_gradient(name, options):
    model = build(name, options)
    outputs, _ = model(draw(T, B, IN))
    outputs.square().sum().backward()
    for key, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), key
        assert parameter.grad.any(), key


@models
def test_float32_agrees_with_float64(name, options):
    inputs = draw(T, B, IN)
    wide, _ = build(name, options)(inputs)
    narrow, _ = build(name, options, dtype=torch.float32)(inputs.float())
    torch.testing.assert_close(narrow.double(), wide, rtol=0, atol=1e-4)


@models
def test_autocast_runs_and_stays_close(name, options):
    model, inputs = build(name, options, dtype=torch.float32), draw(T, B, IN).float()
    expected, _ = model(inputs)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs, _state = model(inputs)
    assert outputs.isfinite().all()
    torch.testing.assert_close(outputs[0].float(), expected[0], rtol=0, atol=0.05)
    outputs.float().sum().backward()


@models
def test_inference_needs_no_gradient_and_agrees(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected, _ = model(inputs)
    with torch.no_grad():
        outputs, state = model(inputs)
        more, _ = model(inputs, state)
    assert torch.equal(outputs, expected) and not more.requires_grad
    with torch.inference_mode():
        assert torch.equal(model(inputs)[0], expected)


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
def test_a_trace_holds_the_weights_of_every_step(name, options):
    model, inputs = build(name, options), draw(T, B, IN)
    expected, _ = model(inputs)
    outputs, state = model(inputs, trace=True)
    assert torch.equal(outputs, expected), "tracing must not change the results"
    if name == "lstm":
        assert state.trace is None
        return
    trace, last = state.trace, state.memory
    for weights, slots, given in (
        (trace.read_weights, trace.read_slots, last.read_weights),
        (trace.write_weights, trace.write_slots, last.write_weights),
    ):
        assert weights.shape[:2] == (T, B) and not weights.requires_grad
        if slots is None:  # a dense memory
            assert torch.equal(weights[-1], given)
            assert weights.shape[3] == model.cell.memory.memory_size
        else:
            assert slots.shape == weights.shape and torch.equal(slots[-1], given.slots)
        assert (weights >= 0).all() and (weights.sum(-1) <= 1 + 1e-6).all()


@models
def test_empty_sequence_gives_empty_outputs(name, options):
    model = build(name, options)
    outputs, state = model(draw(0, B, IN))
    assert outputs.shape == (0, B, OUT)
    torch.testing.assert_close(model(draw(T, B, IN), state)[0], model(draw(T, B, IN))[0])


@models
def test_wrong_inputs_name_what_was_expected(name, options):
    model = build(name, options)
    cases = [
        (draw(T, B, IN + 1), ShapeError, r"inputs: expected shape \[T, B, I=5\], got \[9, 4, 6\]"),
        (draw(T, IN), ShapeError, r"got \[9, 5\]"),
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
def test_wrong_states_are_refused(name, options):
    model = build(name, options)
    _, state = model(draw(T, B, IN))
    with pytest.raises(ShapeError, match="state"):
        model(draw(T, B + 1, IN), state)
    with pytest.raises(ShapeError, match="state: expected this"):
        model(draw(T, B, IN), (draw(B, 12), draw(B, 12)))
    for other in SETTINGS:
        if other != name:
            with pytest.raises(ShapeError, match=r"state: expected this model's \w+State, got \w+"):
                model(draw(T, B, IN), build(other).initial_state(B))
