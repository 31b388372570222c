"""Parameters and compiled steps: frozen, trained, changed and replaced between the steps."""

import pytest
import torch

from sam import SAM, SDNC
from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import (
    IN,
    agree,
    assert_same,
    begun,
    build,
    draw,
    floats,
    leaf,
    outcome,
)

pytest.importorskip("numba")


@pytest.mark.parametrize("frozen", ["cell.controller", "cell.interface", "cell", "all", "inputs"])
def test_parts_that_need_no_gradient(frozen):
    def scenario(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (frozen == "all" or name.startswith(frozen)))
        state, given = model.initial_state(3), draw(6, 3, IN)
        given.requires_grad_(frozen != "inputs")
        parts = []
        for inputs in given:
            hidden, state = take_step(model.cell, inputs, state)
            parts.append(hidden)
        return torch.stack(parts), state, *([] if frozen == "inputs" else [given])

    agree(scenario, paths=["step"])


@pytest.mark.parametrize("model_type", [SAM, SDNC])
@pytest.mark.parametrize("thawed", [False, True])
def test_parameters_that_are_frozen_between_steps(model_type, thawed):
    """Within one graph: a step's part of a gradient is there if it was wanted at that step."""

    def scenario(model):
        parameters = list(model.cell.parameters())
        state, given, parts = model.initial_state(3), leaf(8, 3, IN), []
        for step, inputs in enumerate(given):
            for place, parameter in enumerate(parameters):
                parameter.requires_grad_(place % 2 == 0 or (step < 4) != thawed)
            hidden, state = take_step(model.cell, inputs, state)
            parts.append(hidden)
        model.requires_grad_()  # or torch drops what was wanted
        return torch.stack(parts), state, given

    compiled, _ = agree(scenario, paths=["step"], model_type=model_type)
    names = {name for name in compiled.close if name.startswith("gradient of cell")}
    assert len(names) == 6


@pytest.mark.parametrize("model_type", [SAM, SDNC])
@pytest.mark.parametrize("name", ["controller.cell.weight_hh", "interface.linear.weight"])
def test_parameters_that_change_before_the_backward_pass(model_type, name):
    """Also where gradients of the inputs alone are asked for."""
    for form in (True, False):
        model = build(form, model_type=model_type)
        state, given, parts = model.initial_state(3), leaf(6, 3, IN), []
        for inputs in given:
            hidden, state = take_step(model.cell, inputs, state)
            parts.append(hidden)
        with torch.no_grad():
            model.cell.get_parameter(name).mul_(1.5)
        with pytest.raises(RuntimeError, match="modified by an inplace"):
            torch.autograd.grad(torch.stack(parts).sum(), given)


@pytest.mark.parametrize("controller", ["lstm", "other"])
def test_training_by_steps(controller):
    """Parameters change between the calls, which a state without its graph outlives."""

    def scenario(model):
        optimizer, inputs = torch.optim.SGD(model.parameters(), lr=0.05), draw(4, 6, 3, IN)
        state, parts = model.initial_state(3), []
        for given in inputs:
            optimizer.zero_grad()
            outputs = []
            for step in given.split([1, 2, 1, 2]):
                found, state = model(step, state)
                outputs.append(found)
            torch.cat(outputs).square().sum().backward()
            optimizer.step()
            state = state.detach()
            parts += [part.detach() for part in outputs]
        flat = [parameter.detach().flatten() for parameter in model.parameters()]
        return torch.cat([part.flatten() for part in parts] + flat), state

    agree(scenario, paths=["step"], controller=controller)


def test_parameters_that_change_between_steps():
    """Each step takes them as they are then; a backward pass would be refused."""

    def scenario(model):
        state, parts = begun(model, 3), []
        for inputs in leaf(6, 3, IN):
            hidden, state = take_step(model.cell, inputs, state)
            parts.append(torch.cat([hidden, state.reads], 1).detach())
            with torch.no_grad():
                for parameter in model.cell.parameters():
                    parameter.mul_(0.9)
        return torch.stack(parts), state.detach()

    compiled, plain = (outcome(build(form), scenario) for form in (True, False))
    assert compiled.paths == {"step": 6}
    assert_same(compiled, plain)


def test_parameters_that_are_replaced_between_steps():
    def scenario(model):
        first, inputs, parts = begun(model, 3), leaf(6, 3, IN), []
        other = build(False)
        for parameter in other.parameters():
            parameter.data.mul_(0.9)
        state = first
        for step, given in enumerate(inputs):
            if step == 3:
                model.cell.controller.cell = other.cell.controller.cell
                model.cell.interface.linear = other.cell.interface.linear
            hidden, state = take_step(model.cell, given, state)
            parts.append(hidden)
        leaves = [*other.cell.controller.parameters(), *other.cell.interface.parameters()]
        return torch.stack(parts), state, inputs, *leaves, *floats(first)

    agree(scenario, paths=["step"])


def test_a_state_of_a_model_that_reads_fewer_words():
    def scenario(model):
        fewer = build(False, top_k=1)
        _, state = fewer(draw(5, 3, IN))
        outputs, state = model(draw(3, 3, IN), state.detach())
        more, state = model(draw(9, 3, IN), state)
        assert state.memory.read_weights.slots.shape == (3, 3, 2)
        return torch.cat([outputs, more]), state

    compiled, plain = (outcome(build(form), scenario) for form in (True, False))
    assert_same(compiled, plain)
