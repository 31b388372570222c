"""Ways to call a model that the compiled sequence has to follow: chunks, starts, packed rows."""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

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

STEPS, BATCH = 30, 3


def in_chunks(*sizes):
    """30 steps from a begun state, in calls of these sizes, without cutting the graph."""

    def scenario(model):
        inputs, first, parts = leaf(STEPS, BATCH, IN), begun(model, BATCH), []
        state = first
        for part in inputs.split(sizes):
            outputs, state = model(part, state)
            parts.append(outputs)
        return torch.cat(parts), state, inputs, *floats(first)

    return scenario


def in_detached_chunks(model):
    """Truncated backpropagation: each call has a backward pass of its own but the last."""
    inputs, parts, state = leaf(STEPS, BATCH, IN), [], model.initial_state(BATCH)
    for part in inputs.split([4, 11, 9, 6]):
        outputs, state = model(part, state.detach())
        if len(parts) < 3:
            outputs.square().sum().backward()
            outputs = outputs.detach()
        parts.append(outputs)
    return torch.cat(parts), state, inputs


@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("sizes", [(10, 20), (4, 5, 6, 7, 8), (15, 1, 3, 11)])
def test_chunks_equal_one_call(sizes, shared):
    paths = ("sequence", "step") if 1 in sizes else ("sequence",)
    compiled, _ = agree(in_chunks(*sizes), paths=paths, shared=shared)
    assert_same(compiled, outcome(build(True), in_chunks(STEPS)))


def test_detached_chunks():
    agree(in_detached_chunks)


def test_an_empty_sequence_and_single_steps():
    def scenario(model):
        empty, state = model(draw(0, BATCH, IN))
        assert empty.shape == (0, BATCH, 4)
        parts = []
        for part in draw(6, BATCH, IN).split([1, 0, 2, 3]):
            outputs, state = model(part, state)
            parts.append(outputs)
        return torch.cat(parts), state

    agree(scenario, paths=["step"])


def test_the_shortest_sequence_that_is_taken_at_once():
    agree(in_chunks(4, 26))
    agree(lambda model: model(draw(4, BATCH, IN)))
    agree(lambda model: model(draw(3, BATCH, IN)), paths=["step"])


LONG = 600  # more than twice the steps that are held at a time without a graph


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("lengths", [None, [600, 100, 256], [513, 2, 600]])
def test_long_sequences_without_a_graph(mode, lengths):
    def scenario(model):
        inputs = draw(LONG, BATCH, IN)
        given = inputs if lengths is None else packed(inputs, lengths)
        with mode():
            outputs, state = model(given)
        assert not outputs.data.requires_grad
        return outputs.data.clone(), state

    def with_graph(model):
        inputs = draw(LONG, BATCH, IN)
        outputs, state = model(inputs if lengths is None else packed(inputs, lengths))
        return outputs.data.detach(), state.detach()

    compiled, _ = agree(scenario, memory_size=50)
    assert_same(compiled, outcome(build(True, memory_size=50), with_graph))


def test_dropout_of_inputs_and_outputs():
    def scenario(model):
        torch.manual_seed(7)
        inputs = leaf(12, BATCH, IN)
        outputs, state = model(inputs)
        assert not torch.equal(outputs, model.eval()(inputs)[0])
        return outputs, state, inputs

    agree(scenario, dropout=0.4)


def test_batch_first():
    def scenario(model):
        inputs, starts = leaf(BATCH, 12, IN), torch.zeros(BATCH, 12, dtype=torch.bool)
        starts[1, 5] = True
        outputs, state = model(inputs, starts=starts)
        return outputs, state, inputs

    found, _ = agree(scenario, batch_first=True)
    assert found.close["outputs"].shape == (BATCH, 12, 4)


def starts_at(*places, steps=STEPS):
    starts = torch.zeros(steps, BATCH, dtype=torch.bool)
    for step, row in places:
        starts[step, row] = True
    return starts


STARTS = {
    "long stretches": [(10, 0), (17, 2)],
    "short stretches as well": [(0, 1), (10, 0), (11, 0), (11, 1), (14, 2), (28, 1)],
    "all rows": [(13, 0), (13, 1), (13, 2)],
}


@pytest.mark.parametrize("loaded", [0, 12])
@pytest.mark.parametrize("case", STARTS)
def test_rows_begin_anew(case, loaded):
    starts = starts_at(*STARTS[case])

    def scenario(model):
        first = begun(model, BATCH, words=draw(loaded, 7, seed=5) if loaded else None)
        inputs = leaf(STEPS, BATCH, IN)
        outputs, state = model(inputs, first, starts=starts)
        return outputs, state, inputs, *floats(first)

    agree(scenario)


def packed(inputs, lengths, batch_first=False):
    return pack_padded_sequence(
        inputs, torch.tensor(lengths), batch_first=batch_first, enforce_sorted=False
    )


@pytest.mark.parametrize("shared", [1, 2])
@pytest.mark.parametrize("lengths", [[30, 30, 30], [12, 30, 5], [1, 2, 30], [30, 29, 28]])
def test_rows_of_different_lengths(lengths, shared):
    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(STEPS, BATCH, IN)
        outputs, state = model(packed(inputs, lengths), first)
        assert isinstance(outputs, PackedSequence)
        more, state = model(draw(5, BATCH, IN, seed=6), state)
        return torch.cat([outputs.data.flatten(), more.flatten()]), state, inputs, *floats(first)

    agree(scenario, shared=shared)


def test_rows_of_different_lengths_that_begin_anew():
    starts = starts_at((0, 1), (7, 0), (7, 1), (20, 2), (25, 1), (27, 1))

    def scenario(model):
        first, inputs = begun(model, BATCH), leaf(BATCH, STEPS, IN)
        given = packed(inputs, [12, 30, 21], batch_first=True)
        outputs, state = model(given, first, starts=starts.t())
        padded, lengths = pad_packed_sequence(outputs, batch_first=True)
        assert lengths.tolist() == [12, 30, 21]
        return padded, state, inputs, *floats(first)

    agree(scenario, batch_first=True)
