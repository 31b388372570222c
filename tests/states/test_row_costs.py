"""Rows cost what they have touched: bytes do not depend on N, nor on the rows that are left out."""

import pytest
import torch

from sam import CellState
from tests.models.cases import IN, B, build, draw

sparse = pytest.mark.parametrize("name", ["sam", "sdnc"])


@sparse
def test_bytes_do_not_depend_on_the_memory_size(name: str) -> None:
    found = []
    for memory_size in (2**8, 2**30):
        model = build(name, {"memory_size": memory_size})
        _, state = model(draw(9, B, IN).requires_grad_())
        parts = state.rows([0, 2]), CellState.cat([state, state]), state.put([1], state.rows([0]))
        found.append([part.nbytes for part in parts])
    assert found[0] == found[1]


@sparse
def test_picked_rows_leave_the_words_of_others_behind(name: str) -> None:
    """One row was begun with many words, the others write a few."""
    model = build(name, {"memory_size": 2**16})
    large = model.initial_state(1, words=draw(5000, 6))
    state = CellState.cat([large, model.initial_state(B - 1)])
    _, state = model(draw(3, B, IN), state)
    small, fresh = state.rows([1, 3]), model(draw(3, 2, IN))[1]
    assert small.nbytes <= fresh.nbytes
    assert state.rows([0]).nbytes > 20 * small.nbytes
    words = model.initial_state(1).memory.words
    assert small.memory.words.capacity == words.capacity
    assert small.memory.order.slot_bound == int(small.memory.words_in_use.max())


def test_put_keeps_the_buffer_where_it_is() -> None:
    """The words of the other rows are not copied."""
    model = build("sam")
    _, state = model(draw(9, B, IN))
    held = state.memory.words.buffer.rows.data_ptr()
    other = state.rows([0])
    after = state.put([2], other)
    assert after.memory.words.buffer.rows.data_ptr() == held
    assert after.memory.order is state.memory.order and after.memory.index is state.memory.index


def test_a_backward_pass_keeps_nothing() -> None:
    """G of picked rows and of those they come from is given back."""
    model, inputs = build("sam"), draw(9, B, IN).requires_grad_()
    _, state = model(inputs)
    rows = state.rows([0, 0, 3])
    tapes = [part.memory.words.graph()[0] for part in (state, rows)]
    model(inputs[:, :3].detach(), rows)[0].sum().backward()
    assert [tape.grad for tape in tapes if tape is not None] == [None, None]
    assert inputs.grad is not None and torch.isfinite(inputs.grad).all()
