"""What compiled forms refuse, as the plain ones do: wrong numbers, used states, second passes."""

import pytest
import torch

from sam import NonFiniteError, StaleStateError
from sam.errors import UnsupportedError
from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import IN, build, draw, leaf, watched
from tests.torch_threads import threads

pytest.importorskip("numba")

STEPS, BATCH = 9, 4
# Compiled sequences and compiled steps, the second by another controller.
forms = pytest.mark.parametrize("controller", ["lstm", "other"])


def broken(controller, name, value):
    """A model with one number of the interface wrong: of a key, a word, a gate or a strength."""
    model = build(True, controller=controller)
    with torch.no_grad():
        bias = model.cell.interface.linear.bias
        keys, words = 3 * 7, 2 * 3 * 7  # first all keys, then all words to add
        bias[{"key": 4, "word": keys + 4, "gate": words, "strength": -1}[name]] = value
    return model


@forms
@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("name", ["key", "word"])
def test_a_word_or_key_that_is_not_finite(controller, name, value, shared):
    model, wrong = broken(controller, name, value), {"key": "queries", "word": "words"}[name]
    for graph in (True, False):
        for steps in (1, STEPS):
            refused = pytest.raises(NonFiniteError, match=wrong)
            with threads(shared), torch.set_grad_enabled(graph), refused:
                model(draw(steps, BATCH, IN))


@forms
@pytest.mark.parametrize("form", [True, False])
@pytest.mark.parametrize("steps", [1, STEPS])
def test_a_state_of_which_a_step_was_refused_is_consumed(controller, form, steps):
    """The memory was written to, so whoever caught the error must not go on with the state."""
    model, inputs = build(form, controller=controller), draw(STEPS, BATCH, IN)
    _, state = model(inputs)
    with torch.no_grad():
        model.cell.interface.linear.bias[3 * 7 + 4] = torch.nan  # of a word to add
    with pytest.raises(NonFiniteError, match="words"):
        model(inputs[:steps], state)
    with pytest.raises(StaleStateError):
        model(inputs[:steps], state)


@forms
def test_a_gate_that_is_not_a_number(controller):
    """The write that it scales is refused, as in the plain form."""
    for form in (True, False):
        model = broken(controller, "gate", torch.nan)
        model.cell.memory = build(form, controller=controller).cell.memory
        with pytest.raises(NonFiniteError, match="words"):
            model(draw(STEPS, BATCH, IN))


def with_weight(controller, form, weight):
    """A model with this weight of the first input on all gates of the controller."""
    model = build(form, controller=controller)
    with torch.no_grad():
        model.cell.controller.cell.weight_ih[:, 0] = weight
    return model


@forms
@pytest.mark.parametrize("shared", [1, 2])
def test_one_row_goes_wrong_later_on(controller, shared):
    """At one step of the last row, which is the other thread's, zero times infinity is NaN.

    Of a single product: a difference of two that overflow is NaN or infinity, as they are fused.
    """
    inputs = draw(STEPS, BATCH, IN)
    inputs[:, :, 0] = 1
    inputs[5, BATCH - 1, 0] = 0
    for form in (True, False):
        with threads(shared):
            model = with_weight(controller, form, torch.inf)
            model(inputs[:5])
            with pytest.raises(NonFiniteError, match="words"):
                model(inputs)


def test_gates_at_their_limits_are_no_error():
    inputs = draw(STEPS, BATCH, IN)
    inputs[:, :, 0] = 0
    inputs[2::3, 1:, 0] = 1e300
    results = []
    for form in (True, False):
        given = inputs.clone().requires_grad_()
        model = with_weight("lstm", form, 1e300)
        model.cell.controller.requires_grad_(False)
        outputs, _ = model(given)
        outputs.square().sum().backward()
        results.append((outputs, given.grad[:, :, 1:]))
    for found, wanted in zip(*results, strict=True):
        torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-11)
        assert found.any() and found.isfinite().all()


@forms
@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("graph", [True, False])
def test_a_consumed_state_is_refused(controller, steps, graph):
    model, inputs = build(True, controller=controller), draw(STEPS, BATCH, IN)
    with torch.set_grad_enabled(graph), watched() as paths:
        _, state = model(inputs)
        _, after = model(inputs[:steps], state)
        words = after.memory.words.words.clone()
        for more in (1, STEPS):
            with pytest.raises(StaleStateError, match="has consumed"):
                model(inputs[:more], state)
        with pytest.raises(StaleStateError, match="has consumed"):
            state.clone()
        assert torch.equal(after.memory.words.words, words), "a refused call wrote something"
        model(inputs, after)
    assert ("sequence" in paths) == (controller == "lstm")


@forms
def test_a_second_backward_pass_is_refused(controller):
    model, inputs = build(True, controller=controller), leaf(STEPS, BATCH, IN)
    outputs, _ = model(inputs)
    outputs.sum().backward(retain_graph=True)
    before = inputs.grad.clone()
    with pytest.raises(StaleStateError, match="expected one backward pass"):
        outputs.square().sum().backward()
    assert torch.equal(inputs.grad, before)


@forms
def test_a_gradient_of_a_gradient_is_refused(controller):
    model, inputs = build(True, controller=controller), leaf(STEPS, BATCH, IN)
    outputs, _ = model(inputs)
    with pytest.raises(UnsupportedError, match="second derivatives"):
        torch.autograd.grad(outputs.sum(), inputs, create_graph=True)


@pytest.mark.parametrize("steps", [2, STEPS])
@forms
@pytest.mark.parametrize("name", ["controller", "interface"])
def test_parameters_changed_before_the_backward_pass(controller, name, steps):
    model = build(True, controller=controller)
    outputs, _ = model(draw(steps, BATCH, IN))
    with torch.no_grad():
        for parameter in getattr(model.cell, name).parameters():
            parameter.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@forms
@pytest.mark.parametrize("what", ["weights", "reads"])
def test_a_state_changed_before_the_backward_pass(controller, what):
    """Numbers of the state that the way back needs are guarded; others are copies."""
    results = []
    for changed in (False, True):
        model, inputs = build(True, controller=controller), leaf(STEPS, BATCH, IN)
        outputs, state = model(inputs)
        tensor = {"weights": state.memory.read_weights.values, "reads": state.reads}[what]
        if changed:
            with torch.no_grad():
                tensor.zero_()
        try:
            outputs.square().sum().backward()
            results.append(inputs.grad)
        except RuntimeError as error:
            assert changed and "modified by an inplace operation" in str(error)
            return
    assert torch.equal(*results)


def test_inputs_changed_before_the_backward_pass():
    model, inputs = build(True), draw(STEPS, BATCH, IN)
    outputs, _ = model(inputs)
    inputs.zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        outputs.sum().backward()


@pytest.mark.parametrize("steps", [1, STEPS])
@pytest.mark.parametrize("graph", [True, False])
def test_inputs_and_states_that_do_not_fit_a_cell(graph, steps):
    """Compiled loops look at no bounds: what does not fit must not get as far."""
    model = build(True)
    with torch.set_grad_enabled(graph):
        for shape in ((BATCH, IN + 1), (BATCH, IN - 1), (BATCH + 1, IN), (BATCH - 1, IN), (IN,)):
            for form in (True, False):
                model.cell.memory = build(form).cell.memory
                _, state = model(draw(steps, BATCH, IN))
                with pytest.raises((RuntimeError, ValueError, IndexError)):
                    take_step(model.cell, draw(*shape), state)
