"""Rows of states go on as they would have in their own batch: values and gradients.

What a picked, joined or put row gives is compared with that row in a batch that had it in this
place from the first step on. The attack on states has rows on their own, and longer lives.
"""

import importlib.util
from typing import Any

import pytest
import torch
from torch import Tensor

from sam import CellState
from tests.models.cases import IN, B, build, draw, models

FORMS = [False, True] if importlib.util.find_spec("numba") else [False]
STEPS = 3


def picked(model: Any, state: Any, inputs: Tensor) -> tuple[Tensor, list[int]]:
    """Two rows of which one comes twice, while the state they come from goes on as well."""
    places = [2, 0, 2]
    outputs = model(inputs[:, :3], state.rows(places))[0]
    return torch.cat([outputs, model(inputs[:, 3 : 3 + B], state)[0]], 1), [*places, *range(B)]


def joined(model: Any, state: Any, inputs: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of rows, a whole state twice: what nobody touches in between keeps its gradient."""
    parts = [state[1:].rows([0]), state, state, state[[True, False, False, True]][[-1]]]
    return model(inputs, CellState.cat(parts))[0], [1, *range(B), *range(B), 3]


def put(model: Any, state: Any, inputs: Tensor) -> tuple[Tensor, list[int]]:
    """Rows of another moment, which go on by themselves as well."""
    other = state.rows([2, 3, 3])
    _, after = model(inputs[:, -3:], other.clone())
    state = state.put(torch.tensor([3, 0, 1]), other)
    outputs = model(inputs[:, :B], state)[0]
    more = model(inputs[:, B : B + 3], after.put([1], other.rows([0])))[0]
    del more  # a state that was put into, and is given up
    return torch.cat([outputs, model(inputs[:, B : B + 3], other)[0]], 1), [3, 3, 2, 2, 2, 3, 3]


def gradients(model: Any, *leaves: Tensor) -> list[Tensor]:
    parts = [*leaves, *model.parameters()]
    return [torch.zeros_like(part) if part.grad is None else part.grad for part in parts]


def check(model: Any, change: Any, before: int) -> None:
    first = draw(before, B, IN)
    first.requires_grad_()
    later = draw(STEPS, 2 * B + 2, IN).flip(0).requires_grad_()
    weights = draw(STEPS, 2 * B + 2, 1)
    outputs, rows = change(model, model(first)[1], later)
    (outputs * weights[:, : len(rows)]).sum().backward()
    found = gradients(model, first, later)
    plain_first, plain_later = (part.detach().clone().requires_grad_() for part in (first, later))
    model.zero_grad()
    _, state = model(plain_first[:, rows])
    expected, _ = model(plain_later[:, : len(rows)], state)
    torch.testing.assert_close(outputs, expected, rtol=0, atol=1e-12)
    (expected * weights[:, : len(rows)]).sum().backward()
    wanted = gradients(model, plain_first, plain_later)
    torch.testing.assert_close(found, wanted, rtol=1e-10, atol=1e-11)


@models
def test_rows_go_on_as_they_would_have(name: str, options: dict) -> None:
    model = build(name, options)
    for change in (picked, joined, put):
        model.zero_grad()
        check(model, change, before=9)


@pytest.mark.parametrize("compiled", FORMS)
@pytest.mark.parametrize("memory_size", [7, 64])
@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_fresh_and_full_memories_in_both_forms(name: str, memory_size: int, compiled: bool) -> None:
    """None in use, few, and all of seven several times over."""
    model = build(name, {"memory_size": memory_size}, compiled=compiled)
    for before, change in ((0, joined), (1, put), (12, picked), (12, put)):
        model.zero_grad()
        check(model, change, before)


@pytest.mark.parametrize("name", ["sam", "sdnc", "dam", "lstm"])
def test_float32(name: str) -> None:
    model, inputs = build(name, dtype=torch.float32), draw(30, B, IN, dtype=torch.float32)
    _, state = model(inputs[:20])
    expected = model(inputs[20:], state.clone())[0]
    found = model(inputs[20:, [3, 1]], state[[3, 1]])[0]
    torch.testing.assert_close(found, expected[:, [3, 1]], rtol=0, atol=1e-6)
    joined_up = CellState.cat([state[:1], state[1:]])
    torch.testing.assert_close(model(inputs[20:], joined_up)[0], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_memories_of_different_ages_go_together(name: str) -> None:
    """A fresh one, a loaded one, a full one, and one that has grown."""
    model, inputs = build(name, {"memory_size": 9}), draw(30, 1, IN)
    words = draw(1, 6, 6)

    def ages() -> list[Any]:
        full = model(draw(60, 1, IN))[1]
        return [
            model.initial_state(1).resize(20),
            model(inputs[:5], model.initial_state(1, words=words))[1].resize(20),
            full.resize(20),
            model(inputs, model.initial_state(1).resize(20))[1],
        ]

    with torch.no_grad():
        expected = torch.cat([model(inputs, age)[0] for age in ages()], 1)
        found, state = model(inputs.expand(-1, 4, -1), CellState.cat(ages()))
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        assert state.batch_size == 4
        base = model.initial_state(4).resize(20)
        for place, age in enumerate(ages()):
            base = base.put(place, age)
        found = model(inputs.expand(-1, 4, -1), base)[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_no_gradient_flows_without_a_graph() -> None:
    model, inputs = build("sam"), draw(9, B, IN).requires_grad_()
    _, state = model(inputs)
    with torch.no_grad():
        rows, both = state.rows([0]), CellState.cat([state, state])
        changed = state.clone().put([0], state.rows([1]))
    for part in (rows, both, changed):
        assert not part.reads.requires_grad
        size = part.batch_size
        model(draw(3, size, IN), part)[0].sum().backward()
    assert inputs.grad is None
    model(inputs, state)[0].sum().backward()  # and the state they came from is as it was
    assert inputs.grad.any()


def test_a_trace_goes_along_with_picked_rows_alone() -> None:
    model, inputs = build("sam"), draw(9, B, IN)
    _, state = model(inputs, trace=True)
    rows = state.rows([2, 0])
    assert torch.equal(rows.trace.read_slots, state.trace.read_slots[:, [2, 0]])
    assert rows.trace.searching == state.trace.searching
    assert CellState.cat([state, rows]).trace is None
    assert CellState.cat([rows.clone()._replace(trace=None), state]).trace is None
    assert state.put([0], rows[1:]).trace is None
