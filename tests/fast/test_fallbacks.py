"""Whatever is in the way of a compiled form, the network steps or the memory is plain, with the
same results."""

from dataclasses import fields, replace

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

from index import Audit
from sam.controller import LSTMController
from sam.fast.dispatch import take_step
from sam.interface import Interface
from sam.memory.sam import SAMMemory
from tests.fast.compiled_and_plain import IN, assert_same, build, draw, leaf, outcome, watched

pytest.importorskip("numba")

STEPS, BATCH = 9, 3


def episode(model):
    inputs = leaf(STEPS, BATCH, IN)
    outputs, state = model(inputs)
    return outputs, state, inputs


def expect(model, wanted, paths):
    """Asserts the results and how often which compiled path was taken; None is not the sequence."""
    found = outcome(model, episode)
    assert not found.paths["sequence"] if paths is None else found.paths == paths
    assert_same(found, wanted)


STEPPED, PLAIN = {"step": STEPS}, {}


# A part of the cell, and what is taken when it is changed.
PARTS = {
    "": PLAIN,
    "controller": STEPPED,
    "controller.cell": STEPPED,
    "interface": PLAIN,
    "interface.linear": None,
}
HOOKS = ["forward_hook", "forward_pre_hook", "full_backward_hook"]


@pytest.mark.parametrize("kind", HOOKS)
@pytest.mark.parametrize("part", PARTS)
def test_hooks_are_called(part, kind):
    model, calls = build(True), []

    def hook(*given):
        calls.append(given)

    wanted = outcome(build(False), episode)
    place = model.cell.get_submodule(part)
    handle = getattr(place, f"register_{kind}")(hook)
    expect(model, wanted, PARTS[part])
    assert len(calls) == STEPS
    handle.remove()
    model.zero_grad()
    expect(model, wanted, {"sequence": 1})
    assert len(calls) == STEPS


def test_what_a_hook_keeps_stays_as_it_was():
    kept = {True: [], False: []}
    for form, outputs in kept.items():
        model = build(form)
        for part in ("controller", "interface.linear"):
            place = model.cell.get_submodule(part)
            place.register_forward_hook(lambda *given, outputs=outputs: outputs.append(given[-1]))
        episode(model)[0].sum().backward()
    for found, wanted in zip(tree_leaves(kept[True]), tree_leaves(kept[False]), strict=True):
        torch.testing.assert_close(found, wanted, rtol=0.0, atol=1e-12)


@pytest.mark.parametrize("part", PARTS)
def test_another_forward_is_called(part):
    model, calls = build(True), []
    place = model.cell.get_submodule(part)
    forward = place.forward

    def counted(*given):
        calls.append(given)
        return forward(*given)

    place.forward = counted
    wanted = outcome(build(False), episode)
    expect(model, wanted, PARTS[part])
    assert len(calls) == STEPS


class Controller(LSTMController):
    """Forgets every second component."""

    def forward(self, inputs, state):
        hidden, state = super().forward(inputs, state)
        return hidden * (torch.arange(hidden.shape[1]) % 2), state


class Reversed(Interface):
    def forward(self, hidden):
        return super().forward(-hidden)


class Bounded(nn.Linear):
    """Its backward pass needs what it returns, which nobody may overwrite."""

    def forward(self, given):
        return torch.tanh(super().forward(given))


class Doubled(SAMMemory):
    __slots__ = ()

    def step(self, controls, state, *, active=None):
        reads, state = SAMMemory.step(self, controls, state, active=active)
        return 2 * reads, state


def with_part(part, form):
    """A model with a part of another class and equal parameters."""
    model = build(form)
    cell = model.cell
    if part == "controller":
        cell.controller.__class__ = Controller
    elif part == "interface":
        cell.interface.__class__ = Reversed
    elif part == "interface.linear":
        cell.interface.linear.__class__ = Bounded
    else:
        settings = {field.name: getattr(cell.memory, field.name) for field in fields(cell.memory)}
        cell.memory = Doubled(**settings)
    return model


@pytest.mark.parametrize(
    ("part", "paths"),
    [
        ("controller", STEPPED),
        ("interface", PLAIN),
        ("interface.linear", None),
        ("memory", PLAIN),
    ],
)
def test_a_part_of_another_class_is_used(part, paths):
    usual, wanted = outcome(build(False), episode), outcome(with_part(part, False), episode)
    assert not torch.allclose(usual.close["outputs"], wanted.close["outputs"])
    expect(with_part(part, True), wanted, paths)


@pytest.mark.parametrize(
    "options", [{"strength": "none"}, {"similarity": "euclidean"}, {"renormalise": False}]
)
def test_options_without_a_compiled_form(options):
    wanted = outcome(build(False, **options), episode)
    expect(build(True, **options), wanted, PLAIN)


@pytest.mark.parametrize("place", ["controller.cell", "interface.linear"])
def test_layers_without_biases(place):
    def model_of(form):
        model = build(form)
        path, _, name = place.rpartition(".")
        layer = model.cell.get_submodule(place)
        torch.manual_seed(5)
        sizes = IN + 3 * 7, 13
        if name == "cell":
            bare = nn.LSTMCell(*sizes, bias=False).double()
        else:
            bare = nn.Linear(layer.in_features, layer.out_features, bias=False).double()
        setattr(model.cell.get_submodule(path), name, bare)
        return model

    wanted = outcome(model_of(False), episode)
    for steps in (STEPS, 1):
        model_of(True)(draw(steps, BATCH, IN))
    assert_same(outcome(model_of(True), episode), wanted)


def test_an_audit_sees_every_search():
    wanted = outcome(build(False), episode)
    with Audit() as audit:
        found = outcome(build(True), episode)
    assert_same(found, wanted)
    assert found.paths == STEPPED
    # The comparison itself searches once.
    assert audit.searches == {"exact": STEPS + 1} and audit.recall == 1


def test_a_trace_is_filled():
    model, inputs = build(True), draw(STEPS, BATCH, IN)
    with watched() as paths:
        outputs, state = model(inputs, trace=True)
    assert paths == STEPPED and len(state.trace.read_slots) == STEPS
    expected, state = build(False)(inputs, trace=True)
    torch.testing.assert_close(outputs, expected, rtol=0.0, atol=1e-12)


def test_autocast_steps():
    model, inputs = build(True, dtype=torch.float32), draw(STEPS, BATCH, IN, dtype=torch.float32)
    results = []
    for form in (True, False):
        model.cell.memory = replace(model.cell.memory, compiled=form)
        with watched() as paths, torch.autocast("cpu", dtype=torch.bfloat16):
            outputs, _ = model(inputs)
        assert not paths["sequence"] and bool(paths["step"]) == form
        results.append(outputs)
    torch.testing.assert_close(*results, rtol=0.0, atol=0.02)


def test_compiled_false_is_plain():
    with watched() as paths:
        model = build(False)
        _, state = model(draw(STEPS, BATCH, IN))
        take_step(model.cell, draw(BATCH, IN), state)
    assert not paths
