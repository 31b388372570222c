"""Whole sequences in one compiled call: values, state and gradients of the plain form."""

import pytest
import torch

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
    projected,
    watched,
)
from tests.torch_threads import threads

pytest.importorskip("numba")

CASES = {
    "memory that fills": {},
    "one of each": {"num_heads": 1, "top_k": 1, "word_size": 1, "batch": 1},
    "batch of 8": {"batch": 8},
    "batch of 5": {"batch": 5, "hidden_size": 6, "word_size": 17, "num_heads": 5, "top_k": 3},
    "multiples of 4": {"batch": 4, "hidden_size": 16, "word_size": 8, "num_heads": 4, "top_k": 4},
    "as many words as heads": {"memory_size": 3, "top_k": 3},
    "every word is read": {"top_k": 12},
    "most words are read": {"memory_size": 40, "top_k": 36},
    "more rows than go at a time": {"batch": 70, "memory_size": 30},
    "large memory": {"memory_size": 2**20},
    "shared write": {"shared_write": True},
    "shared write, small memory": {"shared_write": True, "memory_size": 2},
    "softplus": {"strength": "softplus"},
    "few accesses count": {"access_threshold": 0.4, "memory_size": 40},
    "hardly any access counts": {"access_threshold": 0.99},
    "embedding": {"embedding_size": 6, "batch": 2},
    "loaded words": {"loaded": 9},
    "full of loaded words": {"loaded": 12},
    "many loaded words": {"memory_size": 600, "loaded": 500},
}


def scenario_of(case):
    """Settings of a case, and 30 steps that go on from a state that gets gradients."""
    options = dict(CASES[case])
    batch, loaded = options.pop("batch", 3), options.pop("loaded", 0)

    def scenario(model):
        words = None
        if loaded:
            words = draw(batch, loaded, model.cell.memory.word_size, seed=5)
        state = begun(model, batch, words=words)
        inputs = leaf(30, batch, IN)
        outputs, after = model(inputs, state)
        return outputs, after, inputs, *floats(state)

    return options, scenario


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_equals_the_plain_form(case):
    options, scenario = scenario_of(case)
    compiled, _ = agree(scenario, **options)
    assert compiled.paths["sequence"] == 1
    assert compiled.was_sorted == (options.get("memory_size", 12) < 500)


@pytest.mark.parametrize("case", ["memory that fills", "one of each", "batch of 8", "loaded words"])
def test_threads_share_a_batch(case):
    options, scenario = scenario_of(case)
    agree(scenario, shared=2, **options)


def test_more_threads_than_rows():
    options, scenario = scenario_of("batch of 5")
    agree(scenario, shared=7, **options)


PARTS = ["outputs", "first output", "reads", "hidden", "cell", "weights", "second call"]


def loss_of(part, model, inputs, state):
    if part == "second call":
        _, state = model(inputs[:4], state)
        return projected([model(inputs[4:], state)[0]])
    outputs, after = model(inputs, state)
    parts = {
        "outputs": outputs,
        "first output": outputs[0],
        "reads": after.reads,
        "hidden": after.controller.hidden,
        "cell": after.controller.cell,
        "weights": after.memory.read_weights.values,
    }
    return projected([parts[part]])


@pytest.mark.parametrize("part", PARTS)
def test_gradient_of_a_part_of_the_results(part):
    """What a loss does not depend on brings no gradient, which is not the same as zeros."""

    results = []
    for form in (True, False):
        model, inputs = build(form), leaf(9, 2, IN)
        state = begun(model, 2)
        with watched() as paths:
            loss_of(part, model, inputs, state).backward()
        assert bool(paths["sequence"]) == form
        named = {"inputs": inputs, **dict(model.cell.named_parameters())}
        named |= {f"state {place}": tensor for place, tensor in enumerate(floats(state))}
        results.append({name: tensor.grad for name, tensor in named.items()})
    for name, grad in results[0].items():
        torch.testing.assert_close(grad, results[1][name], rtol=1e-10, atol=1e-12)
    assert results[0]["inputs"].any()


@pytest.mark.parametrize("frozen", ["cell.controller", "cell.interface", "cell", "all", "inputs"])
def test_parts_that_need_no_gradient(frozen):
    def scenario(model):
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(not (frozen == "all" or name.startswith(frozen)))
        inputs = draw(9, 3, IN) if frozen == "inputs" else leaf(9, 3, IN)
        outputs, state = model(inputs)
        return outputs, state, *([] if frozen == "inputs" else [inputs])

    agree(scenario)


def test_only_the_state_needs_a_gradient():
    def scenario(model):
        model.requires_grad_(False)
        state = begun(model, 2)
        outputs, after = model(draw(9, 2, IN), state)
        return outputs, after, *floats(state)

    agree(scenario)


def test_rows_are_independent_of_the_others_in_their_batch():
    def rows(keep):
        def scenario(model):
            outputs, state = model(draw(30, 6, IN)[:, keep])
            return outputs[:, -1:], state

        return scenario

    alone, among = (outcome(build(True), rows(keep)) for keep in ([5], [2, 0, 5]))
    for name in ("words", "outputs"):
        found = among.close[name][-1:] if name == "words" else among.close[name]
        torch.testing.assert_close(alone.close[name], found, rtol=0.0, atol=1e-13)


def test_two_runs_are_equal_bit_for_bit():
    _, scenario = scenario_of("memory that fills")
    with threads(2):
        first, second = (outcome(build(True), scenario) for _ in range(2))
    assert_same(first, second, rtol=0.0, atol=0.0)
