"""A state as a dict of tensors: through torch.save and back, going on to the last bit."""

import io
from typing import Any

import pytest
import torch

from sam import CheckpointError, ConfigError, StaleStateError, load_state
from tests.models.cases import IN, SETTINGS, B, T, build, draw, models

names = pytest.mark.parametrize("name", SETTINGS)


def through_torch(given: dict[str, Any]) -> dict[str, Any]:
    buffer = io.BytesIO()
    torch.save(given, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@models
def test_through_torch_save_and_on_to_the_last_bit(name: str, options: dict) -> None:
    model, inputs = build(name, options), draw(40 + T, B, IN)
    _, state = model(inputs[:40])
    given = state.state_dict()
    assert not any(part.requires_grad for part in given.values() if isinstance(part, torch.Tensor))
    read = through_torch(given)
    expected, after = model(inputs[40:], state)
    for loaded in (model.load_state(read), load_state(read, model)):  # and it stays as it is
        found, other = model(inputs[40:], loaded)
        assert torch.equal(found, expected)
    left, right = after.state_dict(), other.state_dict()
    assert {*left} == {*right}
    for part, value in left.items():
        same = torch.equal if isinstance(value, torch.Tensor) else lambda a, b: a == b
        assert same(value, right[part]), part


@pytest.mark.parametrize("name", ["sam", "sdnc"])
@pytest.mark.parametrize("one_by_one", [False, True])
def test_float32_and_full_memories(name: str, one_by_one: bool) -> None:
    model = build(name, {"memory_size": 9}, dtype=torch.float32)
    inputs = draw(40 + T, B, IN, dtype=torch.float32)
    state = None
    for given in inputs[:40].split(1 if one_by_one else 40):
        _, state = model(given, state)
    expected = model(inputs[40:], state.clone())[0]
    assert torch.equal(model(inputs[40:], model.load_state(state.state_dict()))[0], expected)


@names
def test_nothing_is_shared(name: str) -> None:
    model, inputs = build(name), draw(T, B, IN)
    _, state = model(inputs)
    given = state.state_dict()
    kept = {key: part.clone() for key, part in given.items() if isinstance(part, torch.Tensor)}
    model(inputs, state)
    model(inputs, model.load_state(given))
    assert all(torch.equal(given[key], part) for key, part in kept.items())


@names
def test_of_a_state_with_a_graph_and_a_trace(name: str) -> None:
    model, inputs = build(name), draw(T, B, IN).requires_grad_()
    _, state = model(inputs, trace=name != "lstm")
    loaded = model.load_state(state.state_dict())
    assert loaded.trace is None
    model(inputs.detach(), loaded)[0].sum().backward()
    assert inputs.grad is None
    model(inputs, state)[0].sum().backward()
    assert inputs.grad.any()


def test_a_state_that_has_grown() -> None:
    for name, options in (("sam", {}), ("dam", {"controller": "feedforward"})):
        model, inputs = build(name, options), draw(T, B, IN)
        state = model(inputs)[1].resize(100)
        given = state.state_dict()
        with pytest.raises(CheckpointError, match="expected"):
            model.load_state(given)
        loaded = model.load_state(given, memory_size=100)
        assert torch.equal(model(inputs, loaded)[0], model(inputs, state)[0])


def test_what_is_no_state_of_the_model_is_refused() -> None:
    model, inputs = build("sam"), draw(T, B, IN)
    given = model(inputs)[1].state_dict()
    for wrong in (
        {},
        model.state_dict(),
        given | {"format": "another"},
        given | {"more": 1},
        given | {"reads": given["reads"].float()},
        given | {"reads": given["reads"][:1]},
        given | {"reads": torch.zeros(1, dtype=torch.float64).expand(B, 12)},
        given | {"reads": torch.zeros(B, 12, dtype=torch.float64, device="meta")},
        given | {"reads": None},
        given | {"memory.read_weights.slots": given["memory.read_weights.slots"] + 63},
        {key: part for key, part in given.items() if key != "memory.order.head"},
        3,
    ):
        with pytest.raises(CheckpointError, match="expected"):
            load_state(wrong, model)  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="kind: expected"):
        build("sdnc").load_state(given)
    load_state(given, model)


def test_states_that_cannot_be_saved() -> None:
    model, inputs = build("sam"), draw(T, B, IN)
    _, state = model(inputs)
    odd = state._replace(controller=(object(),))
    with pytest.raises(ConfigError, match=r"controller\.0: expected tensors"):
        odd.state_dict()
    model(inputs, state)
    with pytest.raises(StaleStateError):
        state.state_dict()


def test_only_words_that_were_touched_are_in_it() -> None:
    sizes = []
    for memory_size in (2**8, 2**30):
        given = build("sam", {"memory_size": memory_size})(draw(T, B, IN))[1].state_dict()
        sizes.append(sum(p.nbytes for p in given.values() if isinstance(p, torch.Tensor)))
    assert sizes[0] == sizes[1]
