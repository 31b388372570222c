"""Whole calls of every model on a device that has to be waited for: the results of the CPU, and no
waiting in between but where the docstrings say so.

The CPU takes other ways in places, since there a look at a value costs nothing.
"""

import pytest
import torch
from torch.nn.utils.rnn import PackedSequence, pack_sequence

from index import IndexConfig
from tests.models.cases import IN, SETTINGS, B, build

# Once a call, before the first step.
CALL = {"check_inputs", "SequenceInputs.stretches"}
# Whenever space is short, and at every step once all slots are in use.
ORDER = {"AccessOrder._make_room", "AccessOrder.lru_slots"}
# Whatever changes lists or looks into them: how long they are has to be known.
TABLES = {"HashedIndex._grow", "HashedIndex._insert", "HashedIndex._search", "HashedIndex._reset"}
INDEXES = ["lsh", *(IndexConfig(kind=kind, exact_below=16) for kind in ("ivf", "product")), "auto"]
indexes = pytest.mark.parametrize("index", INDEXES, ids=["lsh", "ivf", "product", "auto"])
names = pytest.mark.parametrize("name", SETTINGS)
STEPS = 14


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def results(model, inputs, fetch, **call):
    """Outputs, the parameters' gradients, and the last words read."""
    outputs, state = model(inputs, **call)
    outputs = outputs.data if isinstance(outputs, PackedSequence) else outputs
    outputs.square().sum().backward()
    grads = {name: fetch(parameter.grad) for name, parameter in model.named_parameters()}
    last = state.layer.hidden if hasattr(state, "layer") else state.reads
    return fetch(outputs), fetch(last), grads


def assert_equal(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


def compare(place, name, options, allowed, *, starts=None, lengths=None, trace=False):
    inputs = draw(STEPS, B, IN)

    def given(put):
        if lengths is None:
            return put(inputs)
        rows = [put(inputs[:length, row]) for row, length in enumerate(lengths)]
        return pack_sequence(rows, enforce_sorted=False)

    def call(put):
        begins = {} if starts is None else {"starts": put(starts)}
        return begins | ({"trace": True} if trace else {})

    model = build(name, options)
    expected = results(model, given(lambda x: x), torch.Tensor.detach, **call(lambda x: x))
    model = place.model(build(name, options))
    moved = given(place.put)
    named = call(place.put)
    with place.without_waiting(allowed):
        found = results(model, moved, place.fetch, **named)
    assert_equal(found, expected)


@names
def test_a_call_equals_the_cpus(place, name):
    compare(place, name, {"embedding_size": 4}, CALL | ORDER)


@indexes
@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_call_with_an_approximate_index_equals_the_cpus(place, name, index):
    compare(place, name, {"index": index}, CALL | ORDER | TABLES)


@names
def test_starts_equal_the_cpus(place, name):
    starts = torch.rand(STEPS, B, generator=torch.Generator().manual_seed(2)) < 0.2
    assert starts.any(0).all()
    compare(place, name, {}, CALL | ORDER, starts=starts)


@indexes
def test_starts_with_an_approximate_index_equal_the_cpus(place, index):
    starts = torch.rand(STEPS, B, generator=torch.Generator().manual_seed(2)) < 0.2
    compare(place, "sam", {"index": index}, CALL | ORDER | TABLES, starts=starts)


@names
def test_packed_sequences_equal_the_cpus(place, name):
    compare(place, name, {}, CALL | ORDER, lengths=[7, STEPS, 3, 12])


@pytest.mark.parametrize("name", ["sam", "dnc"])
def test_starts_of_packed_sequences_and_a_trace_equal_the_cpus(place, name):
    starts = torch.zeros(STEPS, B, dtype=torch.bool)
    starts[4, 1] = starts[9, 0] = True
    compare(place, name, {}, CALL | ORDER, starts=starts, lengths=[7, STEPS, 3, 12], trace=True)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_full_memory_equals_the_cpus(place, name):
    compare(place, name, {"memory_size": 8}, CALL | ORDER)


@names
def test_a_state_goes_there_and_back(place, name):
    """Half of a sequence here, half there."""
    inputs = draw(STEPS, B, IN)
    model = build(name)
    with torch.no_grad():
        expected, _ = model(inputs)
        first, state = model(inputs[:10])
        model, state = place.model(model), state.to(place.device)
        second, state = model(place.put(inputs[10:15]), state)
        model, state = build(name), state.to("cpu")
        third, _ = model(inputs[15:], state)
    assert_equal(torch.cat([first, place.fetch(second), third]), expected)
