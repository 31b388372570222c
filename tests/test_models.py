"""The contract of every model, over the registry: call, state, chunks, starts, errors."""

import copy
import itertools
import pickle

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from sam import ConfigError, NonFiniteError, ShapeError, StaleStateError, UnknownNameError
from sam.models import SAM, available_models, make_model, model_class, register_model

IN, OUT, T, B = 5, 3, 9, 4
SETTINGS = {
    "lstm": {"hidden_size": 12},
    "sam": {"hidden_size": 12, "memory_size": 64, "word_size": 6, "num_heads": 2, "top_k": 3},
}
VARIANTS = [
    *((name, {}) for name in available_models()),
    ("sam", {"controller": "gru"}),
    ("sam", {"controller": "feedforward"}),
    ("sam", {"memory_size": 7}),
    ("sam", {"shared_write": True}),
    ("sam", {"renormalise": False, "memory_size": 40}),
    ("sam", {"similarity": "euclidean", "strength": "none"}),
]
models = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=[f"{n} {o}" if o else n for n, o in VARIANTS]
)


def build(name, options=None, dtype=torch.float64, **more):
    torch.manual_seed(3)
    settings = SETTINGS[name] | (options or {}) | more
    return make_model(name, IN, OUT, **settings).to(dtype)


def draw(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


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
        (pack_padded_sequence(draw(T, B, IN), [T] * B), ShapeError, "PackedSequence"),
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


def test_state_of_another_dtype_is_refused():
    _, state = build("sam")(draw(T, B, IN))
    with pytest.raises(ShapeError, match=r"state: expected torch.float32"):
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


def test_trace_holds_what_was_read_and_written():
    model, inputs = build("sam"), draw(T, B, IN)
    outputs, state = model(inputs, trace=True)
    trace = state.trace
    assert trace.read_slots.shape == trace.read_weights.shape == (T, B, 2, 3)
    assert trace.write_slots.shape == trace.write_weights.shape == (T, B, 2, 4)
    assert torch.equal(trace.read_slots[-1], state.memory.read_weights.slots)
    sums = trace.read_weights.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert not trace.read_weights.requires_grad
    assert torch.equal(outputs, model(inputs)[0]), "tracing must not change the results"
    _, after = model(inputs, state)
    assert after.trace is None


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"top_k": 65}, "top_k: expected at most memory_size=64, got 65"),
        ({"memory_size": 1, "top_k": 1}, "num_heads: expected at most memory_size=1, got 2"),
        ({"word_size": 0}, "word_size: expected an integer of at least 1, got 0"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"strength": "exp"}, "strength: expected one of"),
        ({"similarity": "manhattan"}, "similarity: expected one of"),
        ({"access_threshold": 1.5}, "access_threshold"),
    ],
)
def test_wrong_settings_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        build("sam", options)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"model: expected one of sam, lstm.*'sma'"):
        make_model("sma", IN, OUT)
    with pytest.raises(UnknownNameError, match="index: expected one of exact"):
        build("sam", {"index": "exakt"})
    with pytest.raises(UnknownNameError, match="controller: expected one of lstm"):
        build("sam", {"controller": "lsmt"})


def test_registering_a_name_twice_is_refused():
    with pytest.raises(ConfigError, match="taken"):
        register_model("sam", SAM)
    assert model_class("sam") is SAM


def test_fresh_memory_of_a_billion_slots_is_small():
    sizes = [SAM(IN, OUT, memory_size=n).initial_state(8).nbytes for n in (2**10, 2**30)]
    assert sizes[0] == sizes[1] < 400_000
