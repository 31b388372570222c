"""SAM beyond the common contract: trace, settings, size of a fresh memory."""

import pytest
import torch

from index import IndexConfig
from sam import ConfigError, UnknownNameError
from sam.models import SAM, make_model, model_class, register_model
from tests.models.cases import IN, OUT, B, T, build, draw


def test_trace_holds_what_was_read_and_written():
    model, inputs = build("sam"), draw(T, B, IN)
    outputs, state = model(inputs, trace=True)
    trace = state.trace
    assert trace.read_slots.shape == trace.read_weights.shape == (T, B, 2, 3)
    assert trace.write_slots.shape == trace.write_weights.shape == (T, B, 2, 4)
    assert torch.equal(trace.read_slots[-1], state.memory.read_weights.slots)
    sums = trace.read_weights.sum(-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert not trace.read_weights.requires_grad
    assert torch.equal(outputs, model(inputs)[0]), "tracing must not change the results"
    _, after = model(inputs, state)
    assert after.trace is None


def test_a_traced_state_goes_on_and_begins_anew():
    model, inputs = build("sam"), draw(T, B, IN)
    expected, _ = model(inputs, model(inputs)[1].reset(torch.tensor([True] + [False] * (B - 1))))
    _, state = model(inputs, trace=True)
    starts = torch.zeros(T, B, dtype=torch.bool)
    starts[0, 0] = True
    found, _ = model(inputs, state, starts=starts)
    assert torch.equal(found, expected)
    assert (state.memory.read_weights.reset(starts[0]).slots[0] == -1).all()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"top_k": 65}, "top_k: expected at most memory_size=64, got 65"),
        ({"memory_size": 1, "top_k": 1}, "num_heads: expected at most memory_size=1, got 2"),
        ({"word_size": 0}, "word_size: expected an integer of at least 1, got 0"),
        ({"hidden_size": -1}, "hidden_size"),
        ({"strength": "exp"}, "strength: expected one of"),
        ({"similarity": "manhattan"}, "similarity: expected one of"),
        ({"access_threshold": 1.5}, "access_threshold"),
    ],
)
def test_wrong_settings_are_refused(options, text):
    with pytest.raises(ConfigError, match=text):
        build("sam", options)


def test_index_of_another_metric_is_refused():
    text = "index: expected metric 'cosine', as similarity='cosine' says, got 'dot'"
    with pytest.raises(ConfigError, match=text):
        build("sam", {"index": IndexConfig(metric="dot")})
    with pytest.raises(ConfigError, match="expected metric 'l2'"):
        build("sam", {"index": IndexConfig(metric="dot"), "similarity": "euclidean"})
    for options in ({"index": IndexConfig(metric="l2"), "similarity": "euclidean"}, {}):
        build("sam", options).initial_state(2)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"model: expected one of sam, dam.*'sma'"):
        make_model("sma", IN, OUT)
    with pytest.raises(UnknownNameError, match="index: expected one of exact"):
        build("sam", {"index": "exakt"})
    with pytest.raises(UnknownNameError, match="controller: expected one of lstm"):
        build("sam", {"controller": "lsmt"})


def test_registering_a_name_twice_is_refused():
    with pytest.raises(ConfigError, match="taken"):
        register_model("sam", SAM)
    assert model_class("sam") is SAM


def test_fresh_memory_of_a_billion_slots_is_small():
    sizes = [SAM(IN, OUT, memory_size=n).initial_state(8).nbytes for n in (2**10, 2**30)]
    assert sizes[0] == sizes[1] < 400_000


def test_dropout_works_in_training_only():
    inputs = draw(T, B, IN)
    expected, _ = build("sam")(inputs)
    model = build("sam", {"dropout": 0.5})
    first, second = model(inputs)[0], model(inputs)[0]
    assert not torch.allclose(first, second) and not torch.allclose(first, expected)
    assert torch.equal(model.eval()(inputs)[0], expected)
    with pytest.raises(ConfigError, match=r"dropout: expected a value in \[0, 1\), got 1"):
        build("sam", {"dropout": 1})


def test_forget_bias_is_that_of_the_summed_gate():
    cell = build("sam", {"forget_bias": 2.5}).cell.controller.cell
    total = (cell.bias_ih + cell.bias_hh)[12:24]
    assert torch.equal(total, torch.full_like(total, 2.5))


def test_embedding_of_one_hot_inputs_has_unit_variance():
    weight = build("sam", {"embedding_size": 500}).embedding.weight.detach()
    assert weight.shape == (500, IN)
    assert 0.9 < weight.var().item() < 1.1
