"""Words are read back from a state, and a state shows what it is."""

from typing import Any

import numpy as np
import pytest
import torch

from sam import ShapeError
from tests.models.cases import IN, SETTINGS, B, T, build, draw

MEMORIES = [name for name in SETTINGS if name != "lstm"]
sparse = pytest.mark.parametrize("name", ["sam", "sdnc"])


def words_of(state: Any) -> torch.Tensor:
    """All words there is space for, [B, C, W]."""
    words = state.memory.words
    return words.detach() if isinstance(words, torch.Tensor) else words.words


@pytest.mark.parametrize("name", MEMORIES)
def test_words_are_those_of_the_memory(name: str) -> None:
    model, inputs = build(name), draw(T, B, IN)
    _, state = model(inputs)
    words = words_of(state)
    found = state.memory.get([3, 0, 3])
    assert torch.equal(found, words[:, [3, 0, 3]])
    assert not found.requires_grad
    each = torch.tensor([[0, 1], [2, 3], [4, 5], [6, 7]], dtype=torch.int32)
    expected = words[torch.arange(B)[:, None], each.long()]
    for slots in (each, each.tolist(), each.numpy()):
        assert torch.equal(state.memory.get(slots), expected)
    table = each.view(B, 2, 1).expand(-1, -1, 3)  # of any further shape, as of heads
    assert torch.equal(state.memory.get(table), expected[:, :, None].expand(-1, -1, 3, -1))
    assert state.memory.get(torch.zeros(B, 2, 0, dtype=torch.long)).shape == (B, 2, 0, 6)
    assert torch.equal(state.memory.get([-1, 2])[:, 0], torch.zeros(B, 6).double())
    assert state.memory.get([]).shape == (B, 0, 6)
    found.fill_(7.0)  # a copy
    assert torch.equal(words_of(state), words)
    model(inputs, state)


@pytest.mark.parametrize("name", MEMORIES)
def test_wrong_slots_are_refused(name: str) -> None:
    _, state = build(name)(draw(T, B, IN))
    size = SETTINGS[name]["memory_size"]
    for wrong in ([size], [-2], [[0]] * (B - 1), [0.5], [True], 3, "a", None, [[0], [1, 2]]):
        with pytest.raises(ShapeError, match=r"^slots: expected integers"):
            state.memory.get(wrong)


@sparse
def test_the_words_in_use_are_those_written_and_loaded(name: str) -> None:
    model, inputs = build(name), draw(60, B, IN)
    fresh = model.initial_state(B)
    assert fresh.memory.words_in_use.tolist() == [0] * B
    loaded = model.initial_state(B, words=draw(5, 6))
    assert loaded.memory.words_in_use.tolist() == [5] * B
    assert torch.equal(loaded.memory.get(range(5)), draw(5, 6).expand(B, -1, -1))
    starts = torch.zeros(5, B, dtype=torch.bool)
    starts[3, 2] = True
    _, state = model(inputs[:5], starts=starts)
    used = state.memory.words_in_use
    writes = {"sam": 2, "sdnc": 1}[name]
    assert used[2] <= 2 * writes and used[[0, 1, 3]].max() <= 5 * writes
    assert not state.memory.get(np.arange(32))[2, int(used[2]) :].any()
    _, state = model(inputs, state)
    assert state.memory.words_in_use.tolist() <= [64] * B


def test_dense_memories_use_all_words() -> None:
    for name in ("dam", "ntm", "dnc"):
        _, state = build(name)(draw(T, B, IN))
        assert state.memory.words_in_use.tolist() == [16] * B
        assert state.resize(20).memory.words_in_use.tolist() == [20] * B


@sparse
def test_looking_takes_no_space(name: str) -> None:
    _, state = build(name, {"memory_size": 2**30})(draw(T, B, IN))
    before = state.nbytes
    assert not state.memory.get([2**30 - 1, 10**6]).any()
    assert state.nbytes == before


@pytest.mark.parametrize("name", SETTINGS)
def test_a_state_says_what_it_is(name: str) -> None:
    model, inputs = build(name), draw(T, B, IN)
    _, state = model(inputs)
    lines = repr(state).splitlines()
    assert 5 <= len(lines) <= 7
    text = repr(state)
    assert f"model={name.upper()}" in text
    assert f"batch={B}, float64 on cpu, with a graph" in text
    assert f"bytes={state.nbytes:,}" in text
    assert "detached" in repr(state.detach())
    if name != "lstm":
        size = SETTINGS[name]["memory_size"]
        assert f"of {size} a row, each of 6 numbers" in text
        assert "trace=9 steps" in repr(model(inputs, trace=True)[1])


@sparse
def test_what_a_consumed_state_says(name: str) -> None:
    model, inputs = build(name, {"num_layers": 2, "memory_size": 2**20}), draw(T, B, IN)
    _, state = model(inputs)
    assert "of 1,048,576 a row" in repr(state) and "2 layers of LSTM" in repr(state)
    model(inputs, state)
    assert "consumed" in repr(state)
