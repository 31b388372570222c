"""A step of an SDNC's cell as one operation: values, state and gradients of the plain form."""

import math
from unittest.mock import patch

import pytest
import torch
from torch import nn

from index import Audit
from sam.fast import deferred_grads, standard_cell
from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import (
    IN,
    assert_same,
    begun,
    draw,
    floats,
    leaf,
    outcome,
    watched,
)
from tests.fast.test_linked_sequence import BATCH, CASES, both, model_of

pytest.importorskip("numba")

STEPS = 16


def by_steps(batch=BATCH, loaded=0, copied=(), dtype=torch.float64):
    """Calls of the cell; the state may be replaced by its clone."""

    def scenario(model):
        words = draw(loaded, model.cell.memory.word_size, seed=5) if loaded else None
        first, inputs = begun(model, batch, words=words), leaf(STEPS, batch, IN)
        state, parts = first, []
        for step, given in enumerate(inputs):
            features = given if model.embedding is None else model.embedding(given)
            hidden, state = take_step(model.cell, features.to(dtype), state)
            parts.append(torch.cat([hidden, state.reads], 1))
            if step in copied:
                state = state.clone()
        return torch.stack(parts), state, inputs, *floats(first)

    return scenario


@pytest.fixture
def whole_steps():
    """How often a step was one operation."""
    with patch.object(
        standard_cell, "linked_cell_step", wraps=standard_cell.linked_cell_step
    ) as counted:
        yield counted


@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_plain_form(case, whole_steps):
    options = dict(CASES[case])
    scenario = by_steps(options.pop("batch", BATCH), options.pop("loaded", 0))
    found, _ = both(scenario, paths=["step"], **options)
    assert found.paths == {"step": STEPS}
    assert whole_steps.call_count == STEPS


@pytest.mark.parametrize("laid_out_at", [1, 5, math.inf])
def test_products_of_torch_and_of_loops(monkeypatch, laid_out_at, whole_steps):
    monkeypatch.setattr(deferred_grads, "_LAID_OUT_AT", laid_out_at)
    both(by_steps(copied=(0, 5, 6, 12)), paths=["step"])
    assert whole_steps.call_count == STEPS


def test_in_float32(whole_steps):
    """To rounding: each step is compared, from the same state."""
    forms = {form: model_of(form, dtype=torch.float32) for form in (True, False)}
    inputs = draw(12, BATCH, IN, dtype=torch.float32)
    found = {}
    for form, model in forms.items():
        given = inputs.clone().requires_grad_()
        state, parts = model.initial_state(BATCH), []
        for features in given:
            hidden, state = take_step(model.cell, features, state)
            parts.append(torch.cat([hidden, state.reads], 1))
        outputs = torch.stack(parts)
        (outputs * draw(*outputs.shape, seed=4, dtype=torch.float32)).sum().backward()
        grads = [parameter.grad for parameter in model.cell.parameters()]
        found[form] = [outputs.detach(), given.grad, *grads]
    assert whole_steps.call_count == len(inputs)
    for one, other in zip(found[True], found[False], strict=True):
        assert one.any()
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_without_a_graph(whole_steps):
    def scenario(model):
        state, parts = model.initial_state(BATCH), []
        with torch.no_grad():
            for given in draw(STEPS, BATCH, IN):
                hidden, state = take_step(model.cell, given, state)
                parts.append(torch.cat([hidden, state.reads], 1))
        return torch.stack(parts), state

    both(scenario, paths=["step"])
    assert whole_steps.call_count == STEPS


def test_parameters_that_change_between_steps_without_a_graph(whole_steps):
    """Also by `data`, of which torch takes no notice."""

    def scenario(model):
        state, parts = model.initial_state(BATCH), []
        with torch.no_grad():
            for given in draw(STEPS, BATCH, IN):
                hidden, state = take_step(model.cell, given, state)
                parts.append(torch.cat([hidden, state.reads], 1))
                for parameter in model.cell.parameters():
                    parameter.data.mul_(0.9)
        return torch.stack(parts), state

    both(scenario, paths=["step"])
    assert whole_steps.call_count == STEPS


def test_a_state_that_is_changed_in_place(whole_steps):
    """What an earlier step keeps stays as it was."""

    def scenario(in_place):
        model = model_of(True)
        first, inputs = begun(model, BATCH), leaf(6, BATCH, IN)
        state, parts = first, []
        for given in inputs:
            hidden, state = take_step(model.cell, given, state)
            parts.append(torch.cat([hidden, state.reads], 1))
            cell = state.controller.cell
            if in_place:
                cell.mul_(0.5)
                state.reads.mul_(0.5)
            else:
                controller = state.controller._replace(cell=cell * 0.5)
                state = state._replace(controller=controller, reads=state.reads * 0.5)
        outputs = torch.stack(parts)
        (outputs * draw(*outputs.shape, seed=4)).sum().backward()
        leaves = [inputs, *floats(first), *model.cell.parameters()]
        return [outputs.detach(), *(part.grad for part in leaves)]

    for one, other in zip(scenario(True), scenario(False), strict=True):
        torch.testing.assert_close(one, other)
    assert whole_steps.call_count == 12


def _without_bias(model):
    old = model.cell.interface.linear
    linear = nn.Linear(old.in_features, old.out_features, bias=False).double()
    with torch.no_grad():
        linear.weight.copy_(old.weight)
    model.cell.interface.linear = linear


@pytest.mark.parametrize("what", ["index", "audit", "bias", "gru", "hook"])
def test_what_falls_back(what, whole_steps):
    options = {"index": {"index": "ivf"}, "gru": {"controller": "gru"}}.get(what, {})
    models = [model_of(form, **options) for form in (True, False)]
    for model in models:
        if what == "bias":
            _without_bias(model)
        if what == "hook":
            model.cell.interface.register_forward_hook(lambda *given: None)
    if what == "audit":
        with Audit():
            found = outcome(models[0], by_steps())
    else:
        found = outcome(models[0], by_steps())
    assert found.paths == {"step": STEPS} and not whole_steps.called
    assert_same(found, outcome(models[1], by_steps()))


def test_one_form_goes_on_where_the_other_stopped(whole_steps):
    """With and without an audit the steps are of different forms."""

    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(STEPS, BATCH, IN)
        state, parts = first, []
        for step, given in enumerate(inputs):
            if step % 5 == 2:
                with Audit():
                    hidden, state = take_step(model.cell, given, state)
            else:
                hidden, state = take_step(model.cell, given, state)
            parts.append(torch.cat([hidden, state.reads], 1))
        return torch.stack(parts), state, inputs, *floats(first)

    both(scenario, paths=["step"])
    assert whole_steps.call_count == STEPS - 3


def test_a_network_steps_so_where_a_call_has_one_step():
    model = model_of(True)
    with watched() as paths:
        _, state = model(draw(1, BATCH, IN))
        model(draw(1, BATCH, IN), state)
    assert paths == {"step": 2}


def test_an_old_state_does_not_keep_the_graph_of_later_ones(whole_steps):
    model = model_of(True)
    first = model.initial_state(BATCH)
    _, second = take_step(model.cell, draw(BATCH, IN), first)
    take_step(model.cell, draw(BATCH, IN), second)
    assert whole_steps.call_count == 2
    assert second.memory.words.step_cache is None
