"""What is refused when rows of states are picked, joined or put, before anything has changed."""

from typing import Any

import numpy as np
import pytest
import torch

from sam import CellState, ConfigError, ShapeError, StaleStateError
from tests.models.cases import IN, B, build, draw

NAMES = ["sam", "sdnc", "dam", "ntm", "dnc", "lstm"]
RIGHT = {
    "integers": ([2, 0], [2, 0]),
    "from the end": ([-1, -4], [3, 0]),
    "a row twice": ([1, 1], [1, 1]),
    "a mask": (torch.tensor([True, False, False, True]), [0, 3]),
    "a list of bools": ([False, True, False, False], [1]),
    "an array": (np.array([3, 1]), [3, 1]),
    "an array of bools": (np.array([False, True, True, False]), [1, 2]),
    "a slice": (slice(1, 3), [1, 2]),
    "a slice backwards": (slice(None, None, -2), [3, 1]),
    "a range": (range(2), [0, 1]),
    "int32": (torch.tensor([2], dtype=torch.int32), [2]),
}
WRONG = {
    "a short mask": torch.ones(B - 1, dtype=torch.bool),
    "a long mask": [True] * (B + 1),
    "beyond the end": [0, B],
    "before the start": [-B - 1],
    "far beyond": [2**70],
    "numbers that are no integers": [1.0],
    "a float tensor": torch.ones(2),
    "a float array": np.ones(2),
    "bools among integers": [True, 2],
    "bytes, which were masks once": torch.ones(B, dtype=torch.uint8),
    "a table": torch.zeros(2, 2, dtype=torch.int64),
    "one number in a tensor": torch.tensor(1),
    "no numbers": torch.zeros(2, dtype=torch.int64, device="meta"),
    "text": "12",
    "nothing": None,
}


def state_of(name: str, options: dict[str, Any] | None = None) -> tuple[Any, Any, Any]:
    model, inputs = build(name, options), draw(12, B, IN)
    return model, inputs, model(inputs)[1]


@pytest.mark.parametrize("name", ["sam", "dam", "lstm"])
@pytest.mark.parametrize("case", RIGHT)
def test_rows_have_many_names(name: str, case: str) -> None:
    model, inputs, state = state_of(name)
    key, rows = RIGHT[case]
    expected = model(inputs, state.clone())[0][:, rows]
    for picked in (state.rows(key), state[key]):
        assert picked.batch_size == len(rows)
        found = model(inputs[:, rows], picked)[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_rows_are_refused(name: str) -> None:
    model, inputs, state = state_of(name)
    expected = model(inputs, state.clone())[0]
    for key in WRONG.values():
        for use in (state.rows, state.__getitem__, lambda key: state.put(key, state.clone())):
            with pytest.raises(ShapeError, match=r"^rows: expected"):
                use(key)
    assert torch.equal(model(inputs, state)[0], expected)


def test_a_state_is_still_a_tuple() -> None:
    _, _, state = state_of("sam")
    controller, memory, reads, trace, journal = state
    assert state[0] is controller and state[1] is memory and state[-3] is reads and journal is None
    assert state[np.int64(3)] is trace
    assert state._replace(trace=None).memory is memory
    assert state.rows(1).batch_size == 1
    with pytest.raises(IndexError):
        state[5]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_put_must_fit(name: str) -> None:
    model, inputs, state = state_of(name)
    expected = model(inputs, state.clone())[0]
    other = state.clone()
    for rows, given, text in (
        ([0], other, r"other: expected 1 batch rows to put, got 4"),
        ([0, 1], other[:1], r"other: expected 2 batch rows"),
        ([2, 2], other[:2], r"rows: expected each row once, got \[2, 2\]"),
        ([0], None, r"other: expected a state"),
        ([0], (1,), r"other: expected a state"),
        ([0, 1, 2, 3], tuple(other), r"other: expected"),
    ):
        with pytest.raises(ShapeError, match=text):
            state.put(rows, given)
    assert torch.equal(model(inputs, state)[0], expected)


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("sam", {"memory_size": 128}, r"memory\.words: expected memory_size 64.*resize"),
        ("sam", {"word_size": 7}, r"memory\.words: expected word_size 6"),
        ("sam", {"top_k": 2}, r"read_weights\.slots: expected shape without the batch \[2, 3\]"),
        ("sam", {"index": "lsh"}, r"memory\.index: expected ExactIndex"),
        ("sam", {"controller": "gru"}, r"controller: expected LSTMState .* got GRUState"),
        ("sam", {"hidden_size": 13}, r"controller\.hidden: expected"),
        ("sam", {"shared_write": True}, r"write_weights\.slots: expected"),
        ("sdnc", {}, r"memory: expected SAMState .* got SDNCState"),
        ("lstm", {}, r"expected CellState .* got LSTMModelState"),
    ],
)
def test_states_of_unlike_models_are_refused(name: str, options: dict, text: str) -> None:
    model, inputs, state = state_of("sam")
    expected = model(inputs, state.clone())[0]
    other = state_of(name, options)[2]
    with pytest.raises(ShapeError, match=rf"^states\[1\].*{text}"):
        CellState.cat([state, other])
    with pytest.raises(ShapeError, match=rf"^other.*{text}"):
        state.put([0], other.rows([0]))
    assert torch.equal(model(inputs, state)[0], expected)


def test_more_that_does_not_go_together() -> None:
    model, inputs, state = state_of("sam")
    narrow = build("sam", dtype=torch.float32)(inputs.float())[1]
    elsewhere = model.cell.initial_state(2, device="meta")
    dense, larger = state_of("ntm")[2], state_of("ntm", {"memory_size": 20})[2]
    started = dense._replace(
        memory=dense.memory._replace(start=dense.memory.start._replace(word=9.0))
    )
    for states, text in (
        ([state, narrow], "expected dtype torch.float64"),
        ([state, elsewhere], "expected device cpu .* got meta"),
        ([dense, larger], r"memory\.words: expected shape without the batch \[16, 6\]"),
        ([dense, started], r"start\.word: expected value .* got 9\.0"),
        ([], "expected at least one, got none"),
        (state, "expected a list of them, got one CellState"),
        ([state, None], r"states\[1\]: expected a state"),
    ):
        with pytest.raises(ShapeError, match=text):
            CellState.cat(states)
    mixed = state._replace(memory=state.clone().memory._replace(order=state.memory.order))
    with pytest.raises(ShapeError, match=r"state\.order: expected the one that belongs"):
        mixed.rows([0])
    with pytest.raises(ShapeError, match=r"state\.order: expected the one that belongs"):
        CellState.cat([state, mixed])
    with pytest.raises(ShapeError, match="batch size B=4, got 3"):
        state._replace(reads=state.reads[1:]).rows([0])
    odd = state._replace(controller=(object(),))
    with pytest.raises(ConfigError, match=r"controller\.0: expected tensors, .* got a object"):
        odd.rows([0])


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_state_is_not_put_into_itself(name: str) -> None:
    model, inputs, state = state_of(name)
    for same in (state, state.detach()):
        with pytest.raises(ShapeError, match="other: expected another state, got this one"):
            state.put([0, 1, 2, 3], same)
    model(inputs, state)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_consumed_states_are_refused(name: str) -> None:
    model, inputs, used = state_of(name)
    _, now = model(inputs, used)
    kept = now.clone()
    for use in (
        lambda: used.rows([0]),
        lambda: CellState.cat([now, used]),
        lambda: used.put([0], now.rows([0])),
        lambda: now.put([0, 1, 2, 3], used),
        lambda: used.state_dict(),
        lambda: used.memory.get([0]),
        lambda: used.memory.words_in_use,
    ):
        with pytest.raises(StaleStateError, match="state: expected the one returned"):
            use()
    after = now.put([0], kept.rows([1]))
    with pytest.raises(StaleStateError):
        now.rows([0])
    with pytest.raises(StaleStateError):
        model(inputs, now)
    model(inputs, after)


@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_a_state_of_inference_mode_is_changed_inside_of_it_alone(name: str) -> None:
    model, inputs, _ = state_of(name)
    with torch.inference_mode():
        state = model(inputs)[1]
        expected = model(inputs, state.clone())[0]
    for change in (
        lambda: state.put([0], state.rows([1])),
        lambda: state.reset(torch.tensor([True] * B)),
    ):
        with pytest.raises(ShapeError, match=r"inference_mode.*clone\(\)"):
            change()
    for other in (state.rows(range(B)), CellState.cat([state[:1], state[1:]])):
        found = model(inputs, other)[0]
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
        found.sum().backward()
    outside = model(inputs)[1].put(range(B), state)
    torch.testing.assert_close(model(inputs, outside)[0], expected, rtol=0, atol=1e-12)
