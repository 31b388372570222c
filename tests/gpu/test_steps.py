"""A step of any memory, forward and backward: nothing waits for the device."""

from contextlib import nullcontext

import pytest
import torch

from sam.fast.dispatch import take_step
from sam.store.touched_rows import TouchedRows
from tests.models.cases import VARIANTS, B, build

# Sparse memories so small are full after some steps; then the order waits.
SMALL = [("sam", {"memory_size": 7}), ("sdnc", {"memory_size": 7})]
CASES = [case for case in VARIANTS if case[0] != "lstm" and case not in SMALL]
cases = pytest.mark.parametrize(
    ("name", "options"), CASES, ids=[f"{n} {o}" if o else n for n, o in CASES]
)
names = pytest.mark.parametrize("name", ["sam", "sdnc"])
STEPS, W = 6, 6


def draw(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


class Here:
    """The CPU with the methods of the other places."""

    def put(self, tensor):
        return tensor.clone()

    fetch = staticmethod(torch.Tensor.detach)

    def model(self, model):
        return model

    def without_waiting(self):
        return nullcontext()


def rows_apart(cell, state, inputs, masks):
    """Some batch rows wait in the third and fourth step; then some begin anew."""
    first, state = run(cell, state, inputs[:2])
    second, state = run(cell, state, inputs[2:4], masks[0])
    third, _ = run(cell, state.reset(masks[1]), inputs[4:])
    return torch.cat([first, second, third])


def futures(cell, state, inputs, masks):
    """Two of one past: the gradients of both flow into it."""
    past, state = run(cell, state, inputs[:3])
    other = state.clone()
    first, _ = run(cell, state, inputs[3:])
    second, _ = run(cell, other, inputs[3:].flip(0))
    return torch.cat([past, first * second])


def run(cell, state, inputs, active=None):
    hidden = []
    for features in inputs.unbind(0):
        output, state = take_step(cell, features, state, active)
        hidden.append(torch.cat([output, state.reads], 1))
    return torch.stack(hidden), state


def results(place, program, name, options, *, words=None, first=0):
    """What a program makes of a cell, and the gradient of its inputs."""
    cell = place.model(build(name, options)).cell
    inputs = place.put(draw(first + STEPS, B, cell.input_size)).requires_grad_()
    state = cell.initial_state(B, words=words)
    with torch.no_grad():
        _, state = run(cell, state, inputs[:first]) if first else (None, state)
    masks = [
        place.put(torch.tensor(rows)) for rows in ([True, False] * 2, [False, True, True, False])
    ]
    with place.without_waiting():
        found = program(cell, state, inputs[first:], masks)
        found.square().sum().backward()
    assert inputs.grad is not None
    return place.fetch(found), place.fetch(inputs.grad)


def compare(place, program, name, options, **more):
    expected = results(Here(), program, name, options, **more)
    if place.device.type == "cuda":  # what is set up when it is first used may wait
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, "without_waiting", nullcontext)
            results(place, program, name, options, **more)
    found = results(place, program, name, options, **more)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@cases
def test_no_step_waits(place, name, options):
    compare(place, rows_apart, name, options)


@names
@pytest.mark.parametrize("program", [rows_apart, futures])
def test_no_step_waits_in_a_memory_of_many_words(place, name, program, monkeypatch):
    """Larger than what is touched, so that the gradient is laid out compactly."""
    made, lay_out = [], TouchedRows.lay_out
    monkeypatch.setattr(
        TouchedRows, "lay_out", lambda *args: made.append(lay_out(*args)) or made[-1]
    )
    compare(place, program, name, {"memory_size": 4096}, words=draw(2000, W))
    assert len(made) >= 2 and all(layout.places is not None for layout in made)
