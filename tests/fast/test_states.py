"""States between calls: handed from one form to the other, copied, reset, grown."""

import copy
import pickle
from dataclasses import replace

import pytest
import torch

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

BATCH = 3
# Calls of these lengths are compiled sequences and, below 4, compiled steps.
SIZES = (5, 2, 1, 4, 9, 3, 6)


def in_turns(forms, *, traced=None):
    """30 steps in one graph, each part by the form whose turn it is; one may have a trace."""

    def scenario(model):
        first, inputs, parts = begun(model, BATCH), leaf(30, BATCH, IN), []
        state, memory = first, model.cell.memory
        for place, part in enumerate(inputs.split(SIZES)):
            form = forms[place % len(forms)]
            model.cell.memory = replace(memory, compiled=form)
            outputs, state = model(part, state, trace=traced == place)
            parts.append(outputs)
        return torch.cat(parts), state._replace(trace=None), inputs, *floats(first)

    return scenario


@pytest.mark.parametrize("options", [{}, {"memory_size": 300}, {"shared_write": True}])
def test_each_form_goes_on_with_the_states_of_the_other(options):
    wanted = outcome(build(False, **options), in_turns([False]))
    assert not wanted.paths
    for forms in ([True, False], [False, True], [True, True, False], [True]):
        found = outcome(build(False, **options), in_turns(forms))
        assert found.paths["sequence"] and found.paths["step"]
        assert_same(found, wanted)


def test_traces_in_between():
    """A call with a trace steps, with the compiled step."""
    wanted = outcome(build(False), in_turns([False], traced=4))
    found = outcome(build(True), in_turns([True], traced=4))
    assert found.paths == {"sequence": 3, "step": 9 + 2 + 1 + 3}
    assert_same(found, wanted)


def reset_rows(state):
    return state.reset(torch.tensor([False, True, False]))


COPIES = {
    "clone": lambda state: state.clone(),
    "reset": reset_rows,
    "reset of a clone": lambda state: reset_rows(state.clone()),
    "resize": lambda state: state.resize(30),
    "resize of a clone": lambda state: state.clone().resize(30),
    "to": lambda state: state.to("cpu"),
    "detach": lambda state: state.detach(),
    "deepcopy": lambda state: copy.deepcopy(state.detach()),
    "pickle": lambda state: pickle.loads(pickle.dumps(state.detach())),
}


@pytest.mark.parametrize("name", COPIES)
def test_copies_of_a_state_go_on(name):
    """After a sequence, after steps, and again after a sequence, with the memory full."""

    def scenario(model):
        first, inputs, parts = begun(model, BATCH), leaf(32, BATCH, IN), []
        state = first
        for part in inputs.split([6, 2, 8, 3, 13]):
            outputs, state = model(part, state)
            parts.append(outputs)
            if len(parts) < 5:
                state = COPIES[name](state)
        leaves = [inputs]
        if name in ("clone", "to", "resize", "resize of a clone"):
            leaves += floats(first)
        return torch.cat(parts), state, *leaves

    agree(scenario, paths=["sequence", "step"])


@pytest.mark.parametrize("sizes", [(10, 5, 5), (10, 2, 2)])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_state_and_its_clone_go_on_separately(sizes, order):
    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(20, BATCH, IN)
        whole, start, more = sizes
        outputs, state = model(inputs[:whole], first)
        states, parts = [state, state.clone()], [outputs]
        for turn in range(2):
            for which in order:
                begin = whole + turn * start + which
                outputs, states[which] = model(inputs[begin : begin + more], states[which])
                parts.append(outputs)
        assert not torch.equal(parts[-1], parts[-2])
        joined = torch.cat([part.flatten() for part in parts])
        return torch.cat([joined, states[0].reads.flatten()]), states[1], inputs, *floats(first)

    paths = ["sequence"] if min(sizes) >= 4 else ["sequence", "step"]
    agree(scenario, paths=paths)


def test_a_clone_keeps_what_it_was_copied_from_untouched():
    model = build(True)
    _, state = model(draw(9, BATCH, IN))
    copied = state.clone()
    words, stamps = copied.memory.words.words.clone(), copied.memory.order.last_access.clone()
    for steps in (6, 1, 1):
        _, state = model(draw(steps, BATCH, IN), state)
    assert torch.equal(copied.memory.words.words, words)
    assert torch.equal(copied.memory.order.last_access, stamps)
    assert not torch.equal(state.memory.words.words[:, : words.shape[1]], words)


@pytest.mark.parametrize("copier", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_models_are_copied_after_compiled_calls(copier):
    model, inputs = build(True), draw(9, BATCH, IN)
    expected, _ = model(inputs)
    take_step(model.cell, inputs[0], model.initial_state(BATCH))
    assert torch.equal(copier(model)(inputs)[0], expected)


def test_a_state_that_was_made_without_a_graph_goes_on_with_one():
    def scenario(model):
        with torch.no_grad():
            _, state = model(draw(300, BATCH, IN))
        inputs = leaf(9, BATCH, IN)
        outputs, state = model(inputs, state)
        with torch.no_grad():
            more, _ = model(draw(5, BATCH, IN, seed=4), state.clone())
        assert not more.requires_grad
        return outputs, state, inputs

    agree(scenario)
