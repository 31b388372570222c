"""Rows of states on a device that has to be waited for: the results of the CPU."""

from typing import Any

import pytest
import torch

from index import IndexConfig
from sam import CellState
from tests.models.cases import IN, SETTINGS, B, build, draw

LATER = 4
CASES = [
    *((name, {}) for name in SETTINGS),
    ("sam", {"memory_size": 8}),
    ("sdnc", {"memory_size": 8}),
    ("sam", {"index": IndexConfig(kind="ivf", exact_below=8, probes=2**16)}),
]


def results(model: Any, inputs: torch.Tensor, put: Any, fetch: Any) -> tuple[Any, ...]:
    """Outputs of rows picked, joined and put, and the gradients of the parameters."""
    _, state = model(inputs[:-LATER])
    rows = state.rows(put(torch.tensor([2, 0])))
    joined = CellState.cat([rows, state[1:2], rows])
    changed = state.put([True, False, False, True], rows)
    places = put(torch.arange(5) % B)
    outputs = [
        model(inputs[-LATER:].index_select(1, places), joined)[0],
        model(inputs[-LATER:], changed)[0],
    ]
    sum(each.square().sum() for each in outputs).backward()
    grads = {name: fetch(parameter.grad) for name, parameter in model.named_parameters()}
    return [fetch(each) for each in outputs], grads


@pytest.mark.parametrize(("name", "options"), CASES, ids=str)
def test_rows_equal_the_cpus(place: Any, name: str, options: dict) -> None:
    inputs = draw(14, B, IN)
    expected = results(build(name, options), inputs, lambda x: x, torch.Tensor.detach)
    model = place.model(build(name, options))
    found = results(model, place.put(inputs), place.put, place.fetch)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [name for name in SETTINGS if name != "lstm"])
def test_words_and_state_dicts_equal_the_cpus(place: Any, name: str) -> None:
    inputs = draw(9, B, IN)
    with torch.no_grad():
        model = build(name)
        _, expected = model(inputs)
        model = place.model(model)
        _, state = model(place.put(inputs))
        found = place.fetch(state.memory.get(place.put(torch.tensor([0, -1, 3]))))
        torch.testing.assert_close(found, expected.memory.get([0, -1, 3]), rtol=1e-9, atol=1e-9)
        used = place.fetch(state.memory.words_in_use)
        assert torch.equal(used, expected.memory.words_in_use)
        assert f"on {place.device}" in repr(state)
        loaded = model.load_state(state.state_dict())
        outputs = [place.fetch(model(place.put(inputs), now)[0]) for now in (state, loaded)]
        assert torch.equal(*outputs)
