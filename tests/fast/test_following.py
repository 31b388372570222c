"""A step that follows another one looks only at what may have changed since; and notices it."""

from dataclasses import replace
from unittest.mock import patch

import pytest
import torch
from torch import nn

from index.compiled import use_compiled
from sam import ShapeError, StaleStateError
from sam.fast.dispatch import compiled_forms, take_step
from tests.fast.compiled_and_plain import IN, agree, build, draw, leaf

pytest.importorskip("numba")

BATCH, STEPS = 3, 8


def looked_at(model, change=lambda model, state, step: state, **options):
    """Runs a model step by step; at which steps all was looked at."""
    found, step, state = [], 0, model.initial_state(BATCH)
    standard = compiled_forms().standard_cell
    plain = standard.is_standard

    def noted(*given):
        found.append(step)
        return plain(*given)

    with patch.object(standard, "is_standard", noted):
        for step, inputs in enumerate(draw(STEPS, BATCH, IN)):
            state = change(model, state, step)
            _, state = take_step(model.cell, inputs, state)
    return found


def at_4(change):
    """Does something before step 4; it may return another state."""

    def changed(model, state, step):
        return (change(model, state) or state) if step == 4 else state

    return changed


def other_settings(model, state):
    model.cell.memory = replace(model.cell.memory, access_threshold=0.1)


def other_weights(model, state):
    linear = model.cell.interface.linear
    linear.weight = nn.Parameter(linear.weight * 2)


def hooked(model, state):
    model.cell.controller.register_forward_hook(lambda *given: None)


def of_memory(state, **parts):
    return state._replace(memory=state.memory._replace(**parts))


def renewed(name):
    """Puts equal weights in the place of others."""

    def change(model, state):
        weights = getattr(state.memory, name)
        return of_memory(state, **{name: type(weights)(*weights)})

    return change


CHANGES = {
    "nothing": (lambda model, state: None, [0]),
    "settings": (other_settings, [0, 4]),
    "a parameter": (other_weights, [0, 4]),
    "a hook": (hooked, [0, 4, 5, 6, 7]),
    "detached": (lambda model, state: state.detach(), [0, 4]),
    "cloned": (lambda model, state: state.clone(), [0, 4]),
    "resized": (lambda model, state: state.resize(100), [0, 4]),
    "reads": (lambda model, state: state._replace(reads=state.reads * 1), [0, 4]),
    "write weights": (renewed("write_weights"), [0, 4]),
    "read weights": (renewed("read_weights"), [0, 4]),
    "a row begun anew": (lambda model, state: state.reset(torch.arange(BATCH) == 1), [0, 4]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_is_noticed(name):
    change, expected = CHANGES[name]
    assert looked_at(build(True), at_4(change)) == expected


def test_a_block_without_compiled_forms_is_noticed():
    model = build(None).float()
    inputs = draw(STEPS, BATCH, IN).float()
    with use_compiled(True):
        _, state = take_step(model.cell, inputs[0], model.initial_state(BATCH))
    standard = compiled_forms().standard_cell
    with use_compiled(False), patch.object(standard, "run_step", side_effect=AssertionError):
        take_step(model.cell, inputs[1], state)


@pytest.mark.parametrize("name", [name for name in CHANGES if name != "a hook"])
def test_results_are_those_of_the_plain_form(name):
    change, _ = CHANGES[name]

    def scenario(model):
        state, inputs, parts = model.initial_state(BATCH), leaf(STEPS, BATCH, IN), []
        for step, given in enumerate(inputs):
            if step == 4:
                state = change(model, state) or state
            hidden, state = take_step(model.cell, given, state)
            parts.append(torch.cat([hidden, state.reads], 1))
        return torch.stack(parts), state, inputs

    agree(scenario, paths=["step"])


def test_parameters_that_an_optimiser_changes_between_steps():
    """The steps before keep their gradients only where torch says so; from a detached state on."""

    def scenario(model):
        optimizer = torch.optim.SGD(model.cell.parameters(), lr=0.1)
        state, inputs, parts = model.initial_state(BATCH), leaf(STEPS, BATCH, IN), []
        for step, given in enumerate(inputs):
            hidden, state = take_step(model.cell, given, state)
            parts.append(hidden.detach())
            if step % 3 == 2:
                hidden.sum().backward()
                optimizer.step()
                optimizer.zero_grad()
                state = state.detach()
        hidden, state = take_step(model.cell, inputs[0], state)
        return torch.cat([torch.cat(parts) * hidden.sum(), hidden]), state, inputs

    agree(scenario, paths=["step"])


def test_a_state_used_twice_is_refused():
    model, inputs = build(True), draw(2, BATCH, IN)
    _, state = take_step(model.cell, inputs[0], model.initial_state(BATCH))
    take_step(model.cell, inputs[1], state)
    with pytest.raises(StaleStateError):
        take_step(model.cell, inputs[1], state)


def test_inputs_of_another_shape_are_looked_at():
    model, inputs = build(True), draw(2, BATCH, IN)
    for wrong in (inputs[1, :, :-1], inputs[1, :-1]):
        _, state = take_step(model.cell, inputs[0], model.initial_state(BATCH))
        with pytest.raises(ShapeError, match=rf"inputs: expected shape \[B, I={IN}\]|B=2"):
            take_step(model.cell, wrong, state)


def test_inputs_of_another_type_are_promoted_as_in_the_plain_form():
    found = []
    for compiled in (True, False):
        model, inputs = build(compiled), draw(2, BATCH, IN)
        _, state = take_step(model.cell, inputs[0], model.initial_state(BATCH))
        found.append(take_step(model.cell, inputs[1].float(), state)[0])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)
