"""The compiled step, which any controller and any call of the cell takes."""

from unittest.mock import patch

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import IN, agree, begun, build, draw, floats, leaf, outcome

pytest.importorskip("numba")

STEPS = 16
CASES = {
    "lstm": {},
    "gru": {"controller": "gru"},
    "feedforward": {"controller": "feedforward"},
    "two layers": {"num_layers": 2},
    "one of each": {"num_heads": 1, "top_k": 1, "word_size": 1, "batch": 1},
    "batch of 8": {"batch": 8, "num_heads": 4, "top_k": 4, "word_size": 8},
    "as many words as heads": {"memory_size": 3, "top_k": 3},
    "large memory": {"memory_size": 2**20},
    "shared write": {"shared_write": True},
    "softplus": {"strength": "softplus"},
    "few accesses count": {"access_threshold": 0.4, "memory_size": 40},
    "full of loaded words": {"loaded": 12},
    "many loaded words": {"memory_size": 600, "loaded": 500},
}


def by_cell(batch, *, waits=False, loaded=0, copied=()):
    """Calls of the cell; rows may wait, and the state may be replaced by its clone."""

    def scenario(model):
        words = draw(loaded, model.cell.memory.word_size, seed=5) if loaded else None
        first, inputs = begun(model, batch, words=words), leaf(STEPS, batch, IN)
        active = draw(STEPS, batch, seed=3) < 0.5
        assert not active.all() and active.any()
        state, parts = first, []
        for step in range(STEPS):
            mask = active[step] if waits else None
            hidden, state = take_step(model.cell, inputs[step], state, mask)
            if waits:
                hidden = hidden * active[step][:, None]  # of no use elsewhere
            parts.append(torch.cat([hidden, state.reads], 1))
            if step in copied:
                state = state.clone()
        return torch.stack(parts), state, inputs, *floats(first)

    return scenario


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_steps_equal_the_plain_form(case, waits):
    options = dict(CASES[case])
    batch, loaded = options.pop("batch", 3), options.pop("loaded", 0)
    scenario = by_cell(batch, waits=waits, loaded=loaded)
    found, _ = agree(scenario, paths=["step"], **options)
    assert found.paths == {"step": STEPS}


def test_steps_of_cloned_states():
    agree(by_cell(3, waits=True, copied=(0, 5, 6, 12)), paths=["step"])


def test_a_network_with_another_controller_steps():
    def scenario(model):
        first, inputs = begun(model, 3), leaf(12, 3, IN)
        starts = torch.zeros(12, 3, dtype=torch.bool)
        starts[3, 1] = starts[4, 2] = True
        given = pack_padded_sequence(inputs, torch.tensor([7, 12, 3]), enforce_sorted=False)
        outputs, state = model(given, first, starts=starts)
        return outputs.data, state, inputs, *floats(first)

    found, _ = agree(scenario, paths=["step"], controller="other")
    assert found.paths == {"step": 12}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_steps_without_a_graph(mode, waits):
    def scenario(model):
        with mode():
            state, parts = model.initial_state(3), []
            for step, inputs in enumerate(draw(STEPS, 3, IN)):
                mask = torch.tensor([True, step % 3 > 0, step < 9]) if waits else None
                _, state = take_step(model.cell, inputs, state, mask)
                parts.append(state.reads)
            assert not state.reads.requires_grad
            return torch.stack(parts).clone(), state

    agree(scenario, paths=["step"])


def test_no_row_takes_a_step():
    def scenario(model):
        first, nobody = begun(model, 3), torch.zeros(3, dtype=torch.bool)
        _, state = take_step(model.cell, draw(3, IN), first, nobody)
        hidden, after = take_step(model.cell, draw(3, IN, seed=2), state)
        return hidden, after, *floats(first)

    agree(scenario, paths=["step"])


@pytest.mark.parametrize("part", ["reads", "weights", "hidden", "cell", "first hidden"])
def test_gradient_of_a_part_of_a_step(part):
    """What a loss does not depend on brings no gradient to the step."""

    def scenario(model):
        first, inputs = begun(model, 2), leaf(3, 2, IN)
        early, state = take_step(model.cell, inputs[0], first)
        _, state = take_step(model.cell, inputs[1], state)
        hidden, state = take_step(model.cell, inputs[2], state)
        parts = {"reads": state.reads, "weights": state.memory.read_weights.values}
        parts |= {"hidden": hidden, "cell": state.controller.cell, "first hidden": early}
        (parts[part] * draw(*parts[part].shape, seed=7)).sum().backward()
        named = {name: tensor.grad for name, tensor in model.cell.named_parameters()}
        found.append({"inputs": inputs.grad, **named})
        return parts[part].detach(), state.detach()

    found = []
    outcome(build(True), scenario), outcome(build(False), scenario)
    for name, grad in found[0].items():
        # A parameter that has no part in it has no gradient, or one of zeros.
        wanted = torch.zeros_like(grad) if found[1][name] is None else found[1][name]
        torch.testing.assert_close(grad, wanted, rtol=1e-10, atol=1e-12)
    assert found[0]["inputs"].any()


def test_an_lstm_of_one_layer_steps_as_a_whole_unless_rows_wait():
    for waits, options in ((False, {}), (True, {}), (False, {"controller": "gru"})):
        from sam.fast import standard_cell

        with patch.object(standard_cell, "run_step", wraps=standard_cell.run_step) as taken:
            outcome(build(True, **options), by_cell(3, waits=waits))
        assert taken.call_count == (0 if waits or options else STEPS)


@pytest.mark.parametrize("controller", ["lstm", "gru"])
def test_inputs_that_are_no_block_of_memory(controller):
    def scenario(model):
        inputs = leaf(IN, 3, 12)
        state, parts = begun(model, 3), []
        state = state._replace(reads=state.reads.t().contiguous().t())
        for step in range(0, 12, 2):
            hidden, state = take_step(model.cell, inputs[:, :, step].t(), state)
            parts.append(hidden)
        return torch.stack(parts), state, inputs

    agree(scenario, paths=["step"], controller=controller)


@pytest.mark.parametrize("controller", ["lstm", "gru"])
def test_a_memory_that_grows_after_a_reset(controller):
    """The index forgot how many slots were in use, and must not lose words when it makes room."""

    def scenario(model):
        inputs, state, parts = leaf(60, 2, IN), model.initial_state(2), []
        for step, given in enumerate(inputs):
            if step in (3, 20):
                state = state.reset(torch.tensor([True, True]))
            hidden, state = take_step(model.cell, given, state)
            parts.append(torch.cat([hidden, state.reads], 1))
        return torch.stack(parts), state, inputs

    agree(scenario, paths=["step"], memory_size=400, controller=controller)


@pytest.mark.parametrize("steps", [2, 5])
def test_gradients_that_are_expanded_or_transposed(steps):
    def scenario(model):
        first, inputs = begun(model, 3), leaf(steps, 3, IN)
        outputs, state = model(inputs, first)
        reads, values = state.reads, state.memory.read_weights.values
        ones = torch.ones((), dtype=reads.dtype)
        crossed = draw(*reads.shape[::-1], seed=4).t()
        weights = draw(*reversed(values.shape), seed=5).permute(2, 1, 0)
        results = [outputs, reads, values, state.controller.hidden, state.controller.cell]
        expanded = [ones.expand(tensor.shape) for tensor in (outputs, *results[3:])]
        torch.autograd.backward(results, [expanded[0], crossed, weights, *expanded[1:]])
        return outputs.detach(), state.detach(), inputs, *floats(first)

    agree(scenario, paths=["sequence" if steps == 5 else "step"])
