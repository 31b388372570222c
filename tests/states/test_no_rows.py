"""States of no batch rows: picked, joined, put, reset, stored and gone on from."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch

from sam import CellState
from sam.errors import StaleStateError
from sam.fast.dispatch import take_step
from tests.models.cases import IN, B, build, draw, models

NONE = {
    "a list": [],
    "a slice": slice(0, 0),
    "a mask": torch.zeros(B, dtype=torch.bool),
    "a list of bools": [False] * B,
    "an array": np.zeros(0, int),
    "a range": range(0),
}


@models
def test_no_rows_are_a_state_as_well(name: str, options: dict) -> None:
    model, inputs = build(name, options), draw(12, B, IN)
    _, state = model(inputs)
    expected = model(inputs, state.clone())[0]
    none = state[[]]
    assert none.batch_size == 0 and "batch=0" in repr(none)
    assert none.rows([]).batch_size == none.rows(slice(None)).batch_size == 0
    outputs, after = model(inputs[:, :0], none.clone())
    assert outputs.shape[1] == after.batch_size == 0
    for before in (none, after, model.initial_state(0)):
        state = type(state).cat([before, state, before])
        state = state.put([], before)
    torch.testing.assert_close(model(inputs, state)[0], expected, rtol=0, atol=1e-12)
    if hasattr(none, "memory"):
        assert none.memory.words_in_use.shape == (0,)
        assert none.memory.get([0, 1]).shape[:2] == (0, 2)


@pytest.mark.parametrize("name", ["sam", "sdnc", "dam", "lstm"])
@pytest.mark.parametrize("case", NONE)
def test_no_rows_have_many_names(name: str, case: str) -> None:
    model, inputs = build(name), draw(5, B, IN)
    _, state = model(inputs)
    expected = model(inputs, state.clone())[0]
    assert state.rows(NONE[case]).batch_size == state[NONE[case]].batch_size == 0
    state = state.put(NONE[case], state[[]])
    assert torch.equal(model(inputs, state)[0], expected)


@pytest.mark.parametrize("form", [True, False, None])
@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_single_steps_of_no_rows(name: str, form: bool | None) -> None:
    """Also once all slots would be in use, which the order of access looks at."""
    if form:
        pytest.importorskip("numba")
    model: Any = build(name, {"compiled": form, "memory_size": 6})
    state, inputs = model.initial_state(0), torch.zeros(0, IN, dtype=model.output.weight.dtype)
    for step, take in enumerate([model.cell, partial(take_step, model.cell)] * 6):
        hidden, after = take(inputs, state)
        with pytest.raises(StaleStateError):
            take(inputs, state)
        state = after.clone() if step == 5 else after
        assert hidden.shape == (0, model.cell.controller.output_size)
        assert state.reads.shape == (0, model.cell.read_size)
    state.reads.sum().backward()
    assert not model.cell.controller.cell.weight_hh.grad.any()


@pytest.mark.parametrize("index", ["exact", "lsh", "ivf", "product", "faiss"])
@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_of_every_index(name: str, index: str) -> None:
    if index == "faiss":
        pytest.importorskip("faiss", reason="needs faiss")
    model, inputs = build(name, {"index": index}), draw(9, B, IN)
    _, state = model(inputs)
    none = state[[]]
    assert model(inputs[:, :0], none.clone())[1].batch_size == 0
    both: Any = CellState.cat([none, state])
    assert both.put([], none).batch_size == B


@models
def test_no_rows_are_stored(name: str, options: dict) -> None:
    model, inputs = build(name, options), draw(5, B, IN)
    none = model(inputs)[1][[]]
    again = model.load_state(none.state_dict())
    assert again.batch_size == none.reset([]).batch_size == 0


def test_gradients_of_no_rows() -> None:
    model, inputs = build("sam"), draw(5, B, IN)
    _, state = model(inputs)
    _, none = model(inputs[:, :0], state[[]])
    model(inputs, CellState.cat([none, state]))[0].sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
