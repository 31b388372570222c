"""Episodes that begin inside of a compiled sequence, as one operation: values, state and gradients
of the plain form, and of the calls that a sequence is cut into where there is no such operation."""

from unittest.mock import patch

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sam import SAM, SDNC, BaseMemory
from sam.fast.dispatch import compiled_forms
from sam.fast.sequence_run import longest_stretch
from sam.store.gradient_tape import Tape
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
    watched,
)

pytest.importorskip("numba")

STEPS, BATCH = 30, 4
MODELS = pytest.mark.parametrize("model_type", [SAM, SDNC])


def at_share(share, steps=STEPS, batch=BATCH):
    generator = torch.Generator().manual_seed(2)
    return torch.rand(steps, batch, generator=generator) < share


def at(*places):
    starts = torch.zeros(STEPS, BATCH, dtype=torch.bool)
    for step, row in places:
        starts[step, row] = True
    return starts


STARTS = {
    "none": at(),
    "one": at((13, 2)),
    "tenth": at_share(0.1),
    "half": at_share(0.5),
    "every step but the first": at(*((t, row) for t in range(1, STEPS) for row in range(BATCH))),
    "all rows at once": at(*((17, row) for row in range(BATCH))),
    "first step": at((0, 1), (0, 3)),
    "last step": at((29, 0), (29, 2)),
    "twice in a row": at((8, 1), (9, 1), (10, 1)),
}


def scenario_of(starts, *, lengths=None, loaded=0, more=6):
    """A call with starts from a state that gets gradients, and one that goes on from there."""

    def scenario(model):
        words = draw(BATCH, loaded, 7, seed=5) if loaded else None
        first, inputs = begun(model, BATCH, words=words), leaf(STEPS, BATCH, IN)
        given = inputs
        if lengths is not None:
            given = pack_padded_sequence(inputs, torch.tensor(lengths), enforce_sorted=False)
        outputs, state = model(given, first, starts=starts)
        outputs = outputs.data if isinstance(outputs, PackedSequence) else outputs
        after, state = model(draw(more, BATCH, IN, seed=6), state)
        return torch.cat([outputs.flatten(), after.flatten()]), state, inputs, *floats(first)

    return scenario


def cut(model, scenario):
    """What a scenario gives where each stretch between two starts is a call of its own."""
    with patch.object(compiled_forms().standard_cell, "begins_empty", lambda *_: False):
        return outcome(model, scenario)


@MODELS
@pytest.mark.parametrize("case", STARTS)
def test_one_operation_equals_the_plain_form_and_the_cut_one(case, model_type):
    scenario = scenario_of(STARTS[case])
    found, _ = agree(scenario, model_type=model_type)
    assert found.paths == {"sequence": 2}
    pieces = cut(build(True, model_type=model_type), scenario)
    assert_same(found, pieces, rtol=1e-10, atol=1e-12)
    if case != "none":
        assert sum(pieces.paths.values()) > 2 or case == "first step"


OPTIONS = {
    "gru": {"controller": "gru"},
    "feed-forward": {"controller": "feedforward"},
    "stack": {"num_layers": 2},
    "stack of gru": {"controller": "gru", "num_layers": 2},
    "no memory wraps": {"memory_size": 400},
    "large memory": {"memory_size": 2**20},
    "few accesses count": {"access_threshold": 0.4, "memory_size": 40},
    "asked": {"index": "ivf", "memory_size": 50},
    "asked, and gru": {"index": "lsh", "memory_size": 400, "controller": "gru"},
}


@MODELS
@pytest.mark.parametrize("case", OPTIONS)
def test_controllers_sizes_and_indexes(case, model_type):
    found, _ = agree(scenario_of(at_share(0.1)), model_type=model_type, **OPTIONS[case])
    assert found.paths == {"sequence": 2}


@MODELS
@pytest.mark.parametrize("loaded", [5, 12, 300])
def test_loaded_words_are_gone(loaded, model_type):
    size = 400 if loaded > 12 else 12
    agree(scenario_of(at_share(0.1), loaded=loaded), model_type=model_type, memory_size=size)


@MODELS
@pytest.mark.parametrize("share", [0.1, 0.5])
@pytest.mark.parametrize("lengths", [[30, 30, 30, 30], [12, 30, 5, 1], [29, 2, 30, 17]])
def test_rows_of_different_lengths(lengths, share, model_type):
    agree(scenario_of(at_share(share), lengths=lengths), model_type=model_type)


@MODELS
@pytest.mark.parametrize("shared", [2, 7])
def test_threads_share_a_batch(shared, model_type):
    agree(scenario_of(at_share(0.2)), shared=shared, model_type=model_type)


def test_a_shared_write_head():
    agree(scenario_of(at_share(0.2)), shared_write=True)


@MODELS
@pytest.mark.parametrize("share", [0.002, 0.1])
def test_long_sequences_without_a_graph(share, model_type):
    """They run a piece after the other."""
    starts = at_share(share, steps=600)
    assert starts.any() and not starts[:256].any(1).all()

    def scenario(model):
        with torch.no_grad():
            return model(draw(600, BATCH, IN), starts=starts)

    def with_graph(model):
        outputs, state = model(draw(600, BATCH, IN), starts=starts)
        return outputs.detach(), state.detach()

    found, _ = agree(scenario, memory_size=50, model_type=model_type)
    assert_same(found, outcome(build(True, memory_size=50, model_type=model_type), with_graph))


@MODELS
def test_chunks_of_one_graph(model_type):
    """Gradients come into a call from the ones behind it, and stop at its starts."""
    starts = at_share(0.1)

    def scenario(model):
        first, inputs, parts = begun(model, BATCH), leaf(STEPS, BATCH, IN), []
        state = first
        for given, marks in zip(inputs.split(10), starts.split(10), strict=True):
            outputs, state = model(given, state, starts=marks)
            parts.append(outputs)
        return torch.cat(parts), state, inputs, *floats(first)

    found, _ = agree(scenario, model_type=model_type)
    whole = outcome(build(True, model_type=model_type), scenario_of(starts, more=4))
    assert found.paths == {"sequence": 3} and whole.paths == {"sequence": 2}


@MODELS
@pytest.mark.parametrize("loaded", [0, 3000])
def test_the_gradient_of_the_memory_stops_at_a_start(loaded, model_type, monkeypatch):
    """Of a large memory G has rows for what was touched only; both layouts are emptied."""
    layouts, begin = set(), Tape.begin

    def seen(tape):
        found = begin(tape)
        layouts.add(found[1].rows is None)
        return found

    monkeypatch.setattr(Tape, "begin", seen)
    starts = at((10, 0), (10, 1), (20, 2))

    def scenario(model):
        words = draw(BATCH, loaded, 7, seed=5) if loaded else None
        first, inputs = begun(model, BATCH, words=words), leaf(STEPS, BATCH, IN)
        before, state = model(inputs[:8], first)
        outputs, state = model(inputs[8:], state, starts=starts[8:])
        read, words = state.memory.words.read(torch.arange(4).expand(BATCH, 4))
        state = state._replace(memory=state.memory._replace(words=words))
        return torch.cat([before, outputs, read.flatten(1)[None, :, :4]]), state, inputs

    options = {"model_type": model_type, "memory_size": 2**14}
    found = outcome(build(True, **options), scenario)
    assert layouts == {not loaded} and found.paths == {"sequence": 2}
    assert_same(found, outcome(build(False, **options), scenario))


def test_the_starts_may_change_before_the_backward_pass():
    def scenario(model, change=True):
        inputs, starts = leaf(STEPS, BATCH, IN), at_share(0.1)
        outputs, state = model(inputs, starts=starts)
        starts.logical_not_() if change else None
        return outputs, state, inputs

    changed = outcome(build(True), scenario)
    assert_same(changed, outcome(build(True), lambda model: scenario(model, change=False)))


def test_what_is_cut_into_calls(tmp_path):
    """Over a base, with a controller that begins otherwise, a trace or a journal, and few steps."""
    starts, inputs = at((13, 1)), draw(STEPS, BATCH, IN)

    def paths(model, state=None, **options):
        with watched() as found:
            model(inputs, state, starts=starts, **options)
        return dict(found)

    model = build(True)
    assert paths(model) == {"sequence": 1}
    assert paths(model, trace=True) == {"step": STEPS}
    assert paths(model, model.initial_state(BATCH).record()) == {"step": STEPS}
    base = BaseMemory.create(tmp_path / "base", draw(5, 7))
    assert paths(build(True), build(True).initial_state(BATCH, base=base)) == {"sequence": 2}
    begins = model.cell.controller.initial_state
    model.cell.controller.initial_state = lambda *given, **kind: begins(*given, **kind)
    assert paths(model) == {"sequence": 2}
    with watched() as found:
        build(True)(inputs[:3], starts=starts[11:14])
    assert found == {"step": 3}


def test_room_is_made_for_the_longest_stretch():
    assert longest_stretch(at().numpy()) == STEPS
    assert longest_stretch(at((0, 0), *((10, row) for row in range(BATCH))).numpy()) == 20
    assert longest_stretch(at_share(2.0).numpy()) == 1
    model = build(True, memory_size=2**20)
    often = model(draw(STEPS, BATCH, IN), starts=at_share(2.0))[1]
    once = model(draw(STEPS, BATCH, IN))[1]
    assert often.memory.words.capacity < once.memory.words.capacity
    assert often.memory.order.slot_bound == 3 and once.memory.order.slot_bound == 3 * STEPS
