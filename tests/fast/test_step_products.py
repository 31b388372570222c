"""Who makes the products of a single step, torch or compiled loops: the results are the same."""

import math

import pytest
import torch

from sam.fast import deferred_grads, dispatch
from sam.fast.dispatch import take_step
from tests.fast.compiled_and_plain import IN, agree, begun, build, draw, floats, leaf, watched

pytest.importorskip("numba")

STEPS = 6


def by_steps(model):
    first, inputs = begun(model, 5), leaf(STEPS, 5, IN)
    state, parts = first, []
    for given in inputs:
        hidden, state = take_step(model.cell, given, state)
        parts.append(torch.cat([hidden, state.reads], 1))
    return torch.stack(parts), state, inputs, *floats(first)


@pytest.mark.parametrize("index", ["exact", "ivf"])
@pytest.mark.parametrize("laid_out_at", [1, 3, math.inf])
def test_products_of_torch_and_of_loops(monkeypatch, laid_out_at, index):
    monkeypatch.setattr(deferred_grads, "_LAID_OUT_AT", laid_out_at)
    agree(by_steps, paths=["step"], index=index)


@pytest.mark.parametrize("rows", [1, 5])
def test_large_batches_leave_all_products_to_torch(monkeypatch, rows):
    monkeypatch.setattr(deferred_grads, "_LAID_OUT_AT", 1)
    monkeypatch.setattr(deferred_grads, "_MANY_UNITS", 5 * build(True).cell.controller.output_size)
    found = []
    weights = deferred_grads.DeferredGrads.weights
    monkeypatch.setattr(
        deferred_grads.DeferredGrads,
        "weights",
        lambda deferred: found.append(weights(deferred)) or found[-1],
    )

    def scenario(model):
        first, inputs = begun(model, rows), leaf(STEPS, rows, IN)
        state, parts = first, []
        for given in inputs:
            hidden, state = take_step(model.cell, given, state)
            parts.append(torch.cat([hidden, state.reads], 1))
        return torch.stack(parts), state, inputs, *floats(first)

    agree(scenario, paths=["step"])
    assert len(found) == STEPS
    assert all((laid_out is not None) == (rows < 5) for laid_out in found)


@pytest.mark.parametrize("laid_out_at", [1, math.inf])
def test_a_state_that_is_changed_in_place(monkeypatch, laid_out_at):
    """Its graph has the change in it, and what an earlier step keeps stays as it was."""
    monkeypatch.setattr(deferred_grads, "_LAID_OUT_AT", laid_out_at)

    def scenario(in_place):
        def run(model):
            first, inputs = begun(model, 3), leaf(STEPS, 3, IN)
            state, parts = first, []
            for given in inputs:
                hidden, state = take_step(model.cell, given, state)
                parts.append(torch.cat([hidden, state.reads], 1))
                cell, values = state.controller.cell, state.memory.read_weights.values
                if in_place:
                    for part in (cell, state.reads, values):
                        part.mul_(0.5)
                else:
                    read = state.memory.read_weights._replace(values=values * 0.5)
                    state = state._replace(
                        controller=state.controller._replace(cell=cell * 0.5),
                        reads=state.reads * 0.5,
                        memory=state.memory._replace(read_weights=read),
                    )
            return torch.stack(parts), state, inputs, *floats(first)

        return run

    found = []
    for in_place in (True, False):
        model = build(True)
        with watched() as paths:
            outputs, _, *leaves = scenario(in_place)(model)
        assert paths == {"step": STEPS}
        (outputs * draw(*outputs.shape, seed=4)).sum().backward()
        grads = [tensor.grad for tensor in (*leaves, *model.cell.parameters())]
        found.append([outputs.detach(), *(grad for grad in grads if grad is not None)])
    assert len(found[0]) == len(found[1]) > 6
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize(
    ("units", "rows", "steps"), [(7, 2, 4), (160, 2, 5), (400, 7, 10), (400, 8, 4)]
)
def test_wide_layers_of_few_rows_take_steps_for_longer(units, rows, steps):
    """As one operation a sequence lays out its weights, which short ones do not pay back."""
    model = build(True, hidden_size=units)
    for length, path in ((steps - 1, "step"), (steps, "sequence")):
        with watched() as paths:
            model(draw(length, rows, IN))
        assert set(+paths) == {path}
    least = dispatch._least_steps(model.cell, rows, torch.tensor([1, 2]))
    assert least == 4


@pytest.mark.parametrize(("rows", "numbers"), [(5, 2**22), (128, 1), (128, 500)])
def test_products_of_some_steps_at_a_time(monkeypatch, rows, numbers):
    """An entry of many rows by itself, others until they are many numbers."""
    monkeypatch.setattr(deferred_grads, "_ROWS", rows)
    monkeypatch.setattr(deferred_grads, "_MOST_NUMBERS", numbers)
    agree(by_steps, paths=["step"])
