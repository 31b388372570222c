"""SDNC's compiled sequences: what falls back to steps, what is refused, journals, bytes."""

import pytest
import torch
from torch import nn

from index import Audit
from sam import SDNC, NonFiniteError, StaleStateError
from sam.train.saved_bytes import bytes_per_step, saved_bytes
from tests.fast.compiled_and_plain import (
    IN,
    Other,
    assert_same,
    draw,
    leaf,
    outcome,
    watched,
)
from tests.fast.test_linked_sequence import BATCH, STEPS, both, model_of, scenario_of
from tests.models.test_journal import assert_equal
from tests.torch_threads import threads

pytest.importorskip("numba")


def test_other_controllers_step():
    _, scenario = scenario_of("memory that fills", steps=6)
    both(scenario, paths=["step"], controller="other")


@pytest.mark.parametrize("part", ["controller", "interface", "interface.linear"])
def test_a_hook_is_called_at_each_step(part):
    model, calls = model_of(True), []
    place = model.cell.get_submodule(part)
    place.register_forward_hook(lambda *given: calls.append(given))
    _, scenario = scenario_of("memory that fills")
    found = outcome(model, scenario)
    assert len(calls) >= STEPS and not found.paths["sequence"]
    assert_same(found, outcome(model_of(False), scenario))


def test_what_else_steps():
    """Layers without biases, an audit, autocast."""
    _, scenario = scenario_of("memory that fills", steps=6)
    with Audit() as audit:
        found = outcome(model_of(True), scenario)
    assert set(found.paths) == {"step"} and audit.searches["exact"] >= 6
    model = model_of(True)
    old = model.cell.interface.linear
    model.cell.interface.linear = nn.Linear(old.in_features, old.out_features, bias=False).double()
    assert set(outcome(model, scenario).paths) == {"step"}
    model, inputs = model_of(True, dtype=torch.float32), draw(6, BATCH, IN, dtype=torch.float32)
    with watched() as paths, torch.autocast("cpu", dtype=torch.bfloat16):
        model(inputs)
    assert set(paths) == {"step"}


def test_a_word_that_is_not_finite_is_refused_and_the_state_consumed():
    model, inputs = model_of(True), draw(9, BATCH, IN)
    _, state = model(inputs)
    with torch.no_grad():
        model.cell.interface.linear.bias[3 * 7 + 3 * 3 + 2] = torch.nan  # of a word to add
    with pytest.raises(NonFiniteError, match="words"):
        model(inputs, state)
    with pytest.raises(StaleStateError):
        model(inputs, state)


def test_a_key_that_is_not_finite_is_refused():
    model = model_of(True)
    with torch.no_grad():
        model.cell.interface.linear.bias[4] = torch.inf
    for shared in (1, 2):
        with threads(shared), pytest.raises(NonFiniteError, match="queries"):
            model(draw(9, BATCH, IN))


def test_a_second_backward_pass_is_refused():
    outputs, _ = model_of(True)(leaf(9, BATCH, IN))
    outputs.sum().backward(retain_graph=True)
    with pytest.raises(StaleStateError, match="expected one backward pass"):
        outputs.square().sum().backward()


@pytest.mark.parametrize("memory_size", [12, 300])
def test_a_journal_that_begins_after_a_sequence_gives_back_every_state(memory_size):
    """Steps before and after by the sequence; each state of the rollout to the last bit."""
    model = model_of(None, dtype=torch.float32, memory_size=memory_size)
    inputs = draw(40, BATCH, IN, dtype=torch.float32)
    with watched() as paths, torch.no_grad():
        _, state = model(inputs[:9])
        state, before = state.record(), []
        for part in inputs[9:21].split(1):
            before.append(state._replace(journal=None).clone())
            _, state = model(part, state)
        assert paths == {"sequence": 1, "step": 12}
        for step, expected in enumerate(before):
            found = state.at(step)
            assert_equal(found, expected)
            ahead = model(inputs[21:], found)[0], model(inputs[21:], expected)[0]
            assert torch.equal(*ahead)


MOST = 8_500  # bytes a step and batch row, in the standard setting


def test_bytes_a_step():
    """They do not depend on N, and are fewer than the steps on their own keep."""

    def saved(model, steps):
        inputs = torch.randn(steps, 8, 8)
        known = [inputs, *model.parameters()]
        return saved_bytes(lambda: model(inputs)[0].square().sum(), apart_from=known)

    def slope(stepped=False, **options):
        torch.manual_seed(0)
        model = SDNC(8, 8, **options)
        if stepped:
            model.cell.controller.__class__ = Other
        return bytes_per_step(lambda n: saved(model, n), batch_size=8, steps=(10, 20))

    kept = [slope(memory_size=size) for size in (2**10, 2**20)]
    stepped = slope(memory_size=2**10, controller="gru", stepped=True)
    assert kept[0] == kept[1] and 6_000 < kept[0] <= MOST and kept[0] < stepped
