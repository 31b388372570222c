"""Whole sequences of SDNC in one compiled call: values, state and gradients of the plain form."""

from dataclasses import replace

import pytest
import torch
from torch.nn.utils.rnn import pack_padded_sequence

from index import IndexConfig
from sam import SDNC
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
from tests.torch_threads import threads

pytest.importorskip("numba")

STEPS, BATCH = 30, 3
CASES = {
    "memory that fills": {},
    "one of each": {"num_heads": 1, "top_k": 1, "word_size": 1, "num_links": 1, "batch": 1},
    "batch of 5": {"batch": 5, "hidden_size": 6, "word_size": 17, "num_heads": 5, "top_k": 3},
    "multiples of 4": {"batch": 4, "hidden_size": 16, "word_size": 8, "num_heads": 4, "top_k": 4},
    "more rows than go at a time": {"batch": 70, "memory_size": 30},
    "one link a word": {"num_links": 1},
    "more links than words": {"num_links": 13},
    "sources decay": {"decay_sources": True, "num_links": 2},
    "every word is read": {"top_k": 12},
    "sharpened reads": {"read_sharpening": 2.0},
    "sharpened by a power of its own": {"read_sharpening": 1.3, "top_k": 12},
    "renormalised reads": {"read_sharpening": 1.0, "num_heads": 1, "top_k": 4},
    "one word": {"memory_size": 1, "top_k": 1},
    "large memory": {"memory_size": 2**20},
    "no strength": {"strength": "none"},
    "softplus": {"strength": "softplus"},
    "few accesses count": {"access_threshold": 0.4, "memory_size": 40},
    "embedding": {"embedding_size": 6, "batch": 2},
    "loaded words": {"loaded": 9},
    "full of loaded words": {"loaded": 12},
    "many loaded words": {"memory_size": 900, "loaded": 800},  # G is compact
}


def model_of(form, **options):
    return build(form, model_type=SDNC, **options)


def both(scenario, **options):
    return agree(scenario, model_type=SDNC, **options)


def scenario_of(case, steps=STEPS):
    """Settings of a case, and steps that go on from a state that gets gradients."""
    options = dict(CASES[case])
    batch, loaded = options.pop("batch", BATCH), options.pop("loaded", 0)

    def scenario(model):
        words = None
        if loaded:
            words = draw(batch, loaded, model.cell.memory.word_size, seed=5)
        first, inputs = begun(model, batch, words=words), leaf(steps, batch, IN)
        outputs, state = model(inputs, first)
        return outputs, state, inputs, *floats(first)

    return options, scenario


@pytest.mark.parametrize("case", CASES)
def test_a_sequence_equals_the_plain_form(case):
    options, scenario = scenario_of(case)
    compiled, _ = both(scenario, **options)
    assert compiled.paths["sequence"] == 1
    assert compiled.was_sorted == (options.get("memory_size", 12) < 40)
    assert compiled.close["links"].any() == (options.get("memory_size", 12) > 1)


@pytest.mark.parametrize("shared", [2, 7])
@pytest.mark.parametrize("case", ["memory that fills", "loaded words"])
def test_threads_share_a_batch(case, shared):
    options, scenario = scenario_of(case)
    both(scenario, shared=shared, **options)


# Calls of these lengths are compiled sequences and, below 2, compiled steps.
SIZES = (5, 1, 1, 4, 9, 2, 8)


def in_turns(forms, *, traced=None):
    """30 steps in one graph, each part by the form whose turn it is; one may have a trace."""

    def scenario(model):
        first, inputs, parts = begun(model, BATCH), leaf(STEPS, BATCH, IN), []
        state, memory = first, model.cell.memory
        for place, part in enumerate(inputs.split(SIZES)):
            model.cell.memory = replace(memory, compiled=forms[place % len(forms)])
            outputs, state = model(part, state, trace=traced == place)
            parts.append(outputs)
        return torch.cat(parts), state._replace(trace=None), inputs, *floats(first)

    return scenario


@pytest.mark.parametrize(
    "options", [{}, {"memory_size": 300, "decay_sources": True}, {"read_sharpening": 2.0}]
)
def test_each_form_goes_on_with_the_states_of_the_others(options):
    wanted = outcome(model_of(False, **options), in_turns([False]))
    assert not wanted.paths
    for forms in ([True, False], [False, True], [True]):
        found = outcome(model_of(False, **options), in_turns(forms))
        assert found.paths["sequence"] and found.paths["step"]
        assert_same(found, wanted)


def test_a_call_with_a_trace_steps():
    wanted = outcome(model_of(False), in_turns([False], traced=4))
    found = outcome(model_of(True), in_turns([True], traced=4))
    assert found.paths["step"] == 9 + sum(size for size in SIZES if size < 2)
    assert_same(found, wanted)


def test_detached_chunks():
    """Truncated backpropagation: each call has a backward pass of its own but the last."""

    def scenario(model):
        inputs, parts, state = leaf(STEPS, BATCH, IN), [], model.initial_state(BATCH)
        for part in inputs.split([4, 11, 9, 6]):
            outputs, state = model(part, state.detach())
            if len(parts) < 3:
                outputs.square().sum().backward()
                outputs = outputs.detach()
            parts.append(outputs)
        return torch.cat(parts), state, inputs

    both(scenario)


@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("lengths", [[30, 30, 30], [12, 30, 5], [1, 2, 30]])
def test_rows_of_different_lengths(lengths, shared):
    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(STEPS, BATCH, IN)
        outputs, state = model(packed(inputs, lengths), first)
        more, state = model(draw(5, BATCH, IN, seed=6), state)
        return torch.cat([outputs.data.flatten(), more.flatten()]), state, inputs, *floats(first)

    both(scenario, shared=shared)


def packed(inputs, lengths):
    return pack_padded_sequence(inputs, torch.tensor(lengths), enforce_sorted=False)


@pytest.mark.parametrize("loaded", [0, 12])
def test_rows_begin_anew(loaded):
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    starts[10, 0] = starts[17, 2] = True

    def scenario(model):
        words = draw(loaded, 7, seed=5) if loaded else None
        first, inputs = begun(model, BATCH, words=words), leaf(STEPS, BATCH, IN)
        outputs, state = model(inputs, first, starts=starts)
        return outputs, state, inputs, *floats(first)

    both(scenario)


def test_a_state_and_its_clone_go_on_separately():
    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(20, BATCH, IN)
        outputs, state = model(inputs[:10], first)
        other = state.clone()
        more, state = model(inputs[10:15], state)
        others, other = model(inputs[15:], other)
        joined = torch.cat([outputs, more, others])
        return torch.cat([joined.flatten(), state.reads.flatten()]), other, inputs, *floats(first)

    both(scenario)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("lengths", [None, [600, 100, 256]])
def test_long_sequences_without_a_graph(mode, lengths):
    """The state goes on outside of the mode."""

    def scenario(model):
        inputs = draw(600, BATCH, IN)
        with mode():
            outputs, state = model(inputs if lengths is None else packed(inputs, lengths))
        return outputs.data.clone(), state

    both(scenario, memory_size=50)


# So few probes that words are missed.
COARSE = {
    "ivf": IndexConfig(kind="ivf", exact_below=0, probes=1),
    "lsh": IndexConfig(kind="lsh", tables=1, probes=1),
}


@pytest.mark.parametrize("kind", COARSE)
@pytest.mark.parametrize("lengths", [None, [14, 5]])
def test_an_approximate_index_is_asked_at_each_step(kind, lengths):

    def scenario(model):
        first, inputs = begun(model, 2, words=draw(300, 7, seed=5)), leaf(14, 2, IN)
        given = inputs if lengths is None else packed(inputs, lengths)
        outputs, state = model(given, first)
        return outputs if lengths is None else outputs.data, state, inputs, *floats(first)

    found, _ = both(scenario, index=COARSE[kind], memory_size=400)
    exact = outcome(model_of(True, memory_size=400), scenario)
    missed = (found.close["outputs"] - exact.close["outputs"]).abs().max()
    assert missed > 1e-3, "every word was found"


def test_an_exact_index_is_asked_where_many_words_are_in_use(monkeypatch):
    _, scenario = scenario_of("memory that fills")
    looped = outcome(model_of(True), scenario)
    monkeypatch.setattr("sam.fast.array_views._MOST_LOOPED", 0)
    found, _ = both(scenario)
    assert_same(found, looped)


SINGLE = {
    "memory that fills": {},
    "standard sizes": {"hidden_size": 100, "word_size": 32, "num_heads": 4, "top_k": 4},
    "sources decay, no strength": {"decay_sources": True, "strength": "none"},
    "sharpened reads": {"read_sharpening": 2.0},
}


@pytest.mark.parametrize("case", SINGLE)
def test_float32_is_as_good_as_the_plain_form(case):
    def episode(dtype):
        def scenario(model):
            inputs = draw(12, 4, IN, dtype=dtype).requires_grad_()
            outputs, state = model(inputs)
            return outputs, state, inputs

        return scenario

    options = SINGLE[case]
    exact = outcome(model_of(False, **options), episode(torch.float64))
    errors = []
    for form in (True, False):
        model = model_of(form, dtype=torch.float32, **options)
        found = outcome(model, episode(torch.float32))
        assert bool(found.paths["sequence"]) == form
        for name, slots in exact.equal.items():
            assert torch.equal(found.equal[name], slots), "another word was chosen"
        errors.append(max(relative(found.close[n], exact.close[n]) for n in exact.close))
    assert errors[0] <= 2 * errors[1] + 1e-6 and errors[0] < 1e-4


def relative(found, exact):
    """The largest error, to the largest number where that is above 1."""
    return float((found.double() - exact).abs().max() / exact.abs().max().clamp(min=1))


def test_two_runs_are_equal_bit_for_bit():
    _, scenario = scenario_of("memory that fills")
    with threads(2):
        first, second = (outcome(model_of(True), scenario) for _ in range(2))
    assert_same(first, second, rtol=0.0, atol=0.0)
