"""Whole sequences with other controllers than one LSTM layer: values, state and gradients of the
plain form, for SAM and SDNC."""

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from index import IndexConfig
from sam import SAM, SDNC
from sam.controller import GRUController, LSTMController, StackedController
from sam.fast import dispatch
from sam.train.saved_bytes import bytes_per_step, saved_bytes
from tests.fast.compiled_and_plain import (
    IN,
    agree,
    begun,
    build,
    draw,
    floats,
    leaf,
    outcome,
    watched,
)
from tests.fast.test_float32 import episode, errors

pytest.importorskip("numba")

STEPS, BATCH = 30, 3
CONTROLLERS = {
    "gru": {"controller": "gru"},
    "feed-forward": {"controller": "feedforward"},
    "two LSTM layers": {"num_layers": 2},
    "three GRU layers": {"controller": "gru", "num_layers": 3},
    "two feed-forward layers": {"controller": "feedforward", "num_layers": 2},
}
# The last has an odd number of everything; memories of 12 words are written over and over.
SIZES = {
    "K = 1, batch of 1": {"num_heads": 1, "top_k": 1, "word_size": 4, "hidden_size": 5, "batch": 1},
    "K = 4": {"num_heads": 4, "top_k": 4, "word_size": 8, "hidden_size": 16, "memory_size": 20},
    "batch of 8": {"batch": 8, "hidden_size": 9, "word_size": 5, "top_k": 3},
}
every = pytest.mark.parametrize("controller", CONTROLLERS)
both_models = pytest.mark.parametrize("model_type", [SAM, SDNC], ids=["sam", "sdnc"])


def going_on(batch=BATCH, steps=STEPS):
    """Steps that go on from a state that gets gradients."""

    def scenario(model):
        first, inputs = begun(model, batch), leaf(steps, batch, IN)
        outputs, state = model(inputs, first)
        return outputs, state, inputs, *floats(first)

    return scenario


@every
@both_models
@pytest.mark.parametrize("case", SIZES)
def test_a_sequence_equals_the_plain_form(model_type, controller, case):
    options = SIZES[case] | CONTROLLERS[controller]
    batch = options.pop("batch", BATCH)
    found, _ = agree(going_on(batch), model_type=model_type, **options)
    assert found.paths == {"sequence": 1} and found.was_sorted


@every
@both_models
def test_every_length(model_type, controller, monkeypatch):
    monkeypatch.setattr(dispatch, "LEAST_STEPS", dict.fromkeys(dispatch.LEAST_STEPS, 1))

    def scenario(model):
        state, inputs = begun(model, 2), leaf(12 * 13 // 2, 2, IN)
        first, parts = state, []
        for part in inputs.split(list(range(1, 13))):
            outputs, state = model(part, state)
            parts.append(outputs)
        return torch.cat(parts), state, inputs, *floats(first)

    found, _ = agree(scenario, model_type=model_type, **CONTROLLERS[controller])
    assert found.paths == {"sequence": 12}


@every
@both_models
def test_rows_of_different_lengths_and_rows_that_begin_anew(model_type, controller):
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    starts[7, 0] = starts[7, 1] = starts[20, 2] = True

    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(STEPS, BATCH, IN)
        given = pack_padded_sequence(inputs, torch.tensor([12, 30, 21]), enforce_sorted=False)
        outputs, state = model(given, first, starts=starts)
        more, state = model(draw(5, BATCH, IN, seed=6), state)
        return torch.cat([outputs.data.flatten(), more.flatten()]), state, inputs, *floats(first)

    agree(scenario, model_type=model_type, shared=2, **CONTROLLERS[controller])


@every
def test_long_sequences_without_a_graph(controller):
    def scenario(model):
        with torch.no_grad():
            outputs, state = model(draw(300, 2, IN))
        return outputs, state

    agree(scenario, memory_size=50, **CONTROLLERS[controller])


@pytest.mark.parametrize("controller", ["gru", "two LSTM layers"])
def test_parts_of_the_state_alone(controller):
    """What a loss does not depend on brings no gradient, which is not the same as zeros."""
    results = []
    for form in (True, False):
        model, inputs = build(form, **CONTROLLERS[controller]), leaf(9, 2, IN)
        first = begun(model, 2)
        with watched() as paths:
            _, state = model(inputs, first)
        assert bool(paths["sequence"]) == form
        hidden = floats(state)[-3]  # of the last layer: h of a GRU, c of an LSTM
        (hidden * draw(*hidden.shape, seed=4)).sum().backward()
        named = {"inputs": inputs, **dict(model.cell.named_parameters())}
        named |= {f"state {place}": tensor for place, tensor in enumerate(floats(first))}
        results.append({name: tensor.grad for name, tensor in named.items()})
    for name, grad in results[0].items():
        wanted = torch.zeros_like(grad) if results[1][name] is None else results[1][name]
        torch.testing.assert_close(grad, wanted, rtol=1e-10, atol=1e-12)
    assert results[0]["inputs"].any()


def test_an_approximate_index_is_asked_at_each_step():
    def scenario(model):
        first, inputs = begun(model, 2, words=draw(300, 7, seed=5)), leaf(9, 2, IN)
        outputs, state = model(inputs, first)
        return outputs, state, inputs, *floats(first)

    index = IndexConfig(kind="ivf", exact_below=0, probes=1)
    agree(scenario, index=index, memory_size=400, controller="gru")


@every
@both_models
def test_float32_is_as_good_as_the_plain_form(model_type, controller):
    options = CONTROLLERS[controller] | {"model_type": model_type}
    exact = outcome(build(False, **options), episode(torch.float64))
    found = {}
    for form in (True, False):
        model = build(form, dtype=torch.float32, **options)
        found[form] = outcome(model, episode(torch.float32))
        for name, slots in exact.equal.items():
            assert torch.equal(found[form].equal[name], slots), "another word was chosen"
    assert found[True].paths == {"sequence": 1} and not found[False].paths
    compiled, plain = (errors(found[form], exact) for form in (True, False))
    assert compiled[0] <= 1e-6 and compiled[1] <= 1e-4
    for one, other in zip(compiled, plain, strict=True):
        assert one <= 2 * other + 1e-6


def with_controller(controller, form):
    model = build(form)
    model.cell.controller = controller.double()
    return model


WIDTH = IN + 3 * 7
ODD = {
    "layers of two kinds": lambda: StackedController(
        [GRUController(WIDTH, 6), LSTMController(WIDTH + 6, 7)]
    ),
    "layers of two widths": lambda: StackedController(
        [LSTMController(WIDTH, 5), LSTMController(WIDTH + 5, 8)]
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_layers_of_different_kinds_or_widths_step(case):
    def made(form):
        torch.manual_seed(4)
        return with_controller(ODD[case](), form)

    found, wanted = (outcome(made(form), going_on(steps=6)) for form in (True, False))
    assert found.paths == {"step": 6} and not wanted.paths
    torch.testing.assert_close(found.close["outputs"], wanted.close["outputs"])


@pytest.mark.parametrize("part", ["", ".layers.1", ".layers.1.cell"])
def test_a_hook_on_a_part_of_a_stack_is_called_at_each_step(part):
    model, calls = build(True, num_layers=2), []
    place = model.cell.get_submodule(f"controller{part}")
    place.register_forward_hook(lambda *given: calls.append(given))
    found = outcome(model, going_on(steps=6))
    assert len(calls) == 8 and found.paths == {"step": 6}  # two before


def kept_by(model_type, **options):
    """Numbers a step of the standard sizes and batch row: batch 8, 100 units."""
    model = model_type(8, 8, memory_size=2**10, compiled=True, dtype=torch.float64, **options)

    def saved(steps):
        inputs = draw(steps, 8, 8)
        known = [inputs, *model.parameters()]
        return saved_bytes(lambda: model(inputs)[0].square().sum(), apart_from=known)

    return bytes_per_step(saved, batch_size=8, steps=(10, 20)) / 8


def test_bytes_a_step():
    """Of 100 LSTM units 600 numbers are kept, of GRU units 500, of feed-forward ones 200."""
    lstm, gru = kept_by(SAM), kept_by(SAM, controller="gru")
    assert lstm - gru == 100
    assert lstm - kept_by(SAM, controller="feedforward") == 400
    assert kept_by(SAM, controller="gru", num_layers=2) - gru == 500
