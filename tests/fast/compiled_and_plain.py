"""The same SAM or SDNC in two forms, compiled and plain: all that both must agree on, and whether
the compiled one was used at all."""

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from sam import SAM, SDNC
from sam.cell import CellState
from sam.controller import GRUController
from sam.fast.dispatch import compiled_forms
from sam.store.access_order import AccessOrder
from tests.torch_threads import threads

IN, OUT = 5, 4
# No size is a multiple of 4, which is what compiled loops take at once.
SETTINGS = {"hidden_size": 13, "memory_size": 12, "word_size": 7, "num_heads": 3, "top_k": 2}


class Other(GRUController):
    """A controller that the loops do not know, as its class is another one: the cell steps."""


def build(
    compiled: bool | None,
    *,
    model_type: type = SAM,
    dtype: torch.dtype = torch.float64,
    **options: Any,
) -> Any:
    """A model whose gates are not all near a half; the same parameters for the same sizes.

    Its controller may be "other" than all that have a compiled form.
    """
    torch.manual_seed(3)
    options = SETTINGS | options
    steps = options.get("controller") == "other"
    if steps:
        options["controller"] = "gru"
    if model_type is SDNC:
        options["num_reads"] = options.pop("num_heads")
    model = model_type(IN, OUT, compiled=compiled, **options).to(dtype)
    if steps:
        model.cell.controller.__class__ = Other
    with torch.no_grad():
        for parameter in model.cell.interface.parameters():
            parameter.mul_(4)
    return model


def draw(*shape: int, seed: int = 1, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).to(dtype)


def leaf(*shape: int, seed: int = 1) -> Tensor:
    return draw(*shape, seed=seed).requires_grad_()


def floats(state: Any) -> list[Tensor]:
    """The tensors of a state that gradients come through."""
    found = [*tree_leaves(state.controller), state.reads, state.memory.read_weights.values]
    return [tensor for tensor in found if isinstance(tensor, Tensor)]


def with_leaves(state: CellState) -> CellState:
    """A state that gradients reach and do not go beyond."""

    def cut(part: Any) -> Any:
        if isinstance(part, Tensor) and part.is_floating_point():
            return part.detach().clone().requires_grad_()
        return part

    return tree_map(cut, state.detach())


def begun(model: SAM, batch_size: int, *, steps: int = 2, words: Tensor | None = None) -> CellState:
    """The state after some steps of the plain form, whose tensors get gradients."""
    memory = model.cell.memory
    state = model.initial_state(batch_size, words=words)
    model.cell.memory = replace(memory, compiled=False)
    with torch.no_grad():
        for inputs in draw(steps, batch_size, IN, seed=8, dtype=model.output.weight.dtype):
            _, state = model.cell(model.embedding(inputs) if model.embedding else inputs, state)
    model.cell.memory = memory
    return with_leaves(state)


class Found(NamedTuple):
    """Of one form."""

    close: dict[str, Tensor]  # equal to rounding
    equal: dict[str, Tensor]
    was_sorted: bool  # the order of access, because every slot was in use
    paths: Counter[str]  # how many compiled sequences and steps there were


Scenario = Callable[[SAM], tuple[Any, ...]]
"""Runs a model; returns its outputs, the last state, and leaves that shall get a gradient."""


def projected(tensors: Iterable[Tensor]) -> Tensor:
    """A loss in which each number has a weight of its own."""
    parts = [
        (t * draw(*t.shape, seed=place, dtype=t.dtype)).sum() for place, t in enumerate(tensors)
    ]
    return torch.stack(parts).sum()


def outcome(model: SAM, scenario: Scenario) -> Found:
    """Runs a scenario and, if it has a graph, the way back from its outputs and state."""
    with watched() as paths:
        outputs, state, *leaves = scenario(model)
        loss = projected([outputs, *floats(state)])
        if loss.requires_grad:
            loss.backward()
    close, equal = seen(state)
    close["outputs"] = outputs.detach()
    close |= {f"state {place}": tensor.detach() for place, tensor in enumerate(floats(state))}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            close[f"gradient of {name}"] = parameter.grad
    for place, tensor in enumerate(leaves):
        grad = torch.zeros_like(tensor) if tensor.grad is None else tensor.grad
        close[f"gradient of leaf {place}"] = grad
    was_sorted = state.memory.order.buffers[2].shape[1] > 0
    return Found(close, equal, was_sorted, paths)


def seen(state: CellState) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """What a memory holds, as far as slots are in use: numbers, and what must be exactly equal."""
    memory, words = state.memory, state.memory.words.words
    order, index = memory.order.clone(), memory.index.clone()
    stamps, total, *_ = order.buffers
    assert not total.any(), "sums by slot were left behind"
    # Beyond are slots that one form may have handed out to a row that waited, and nobody used.
    common = min(words.shape[1], stamps.shape[1] - 1)
    is_used = words[:, :common].any(2) | (stamps[:, 1 : 1 + common] >= 0)
    used = 1 + max(is_used.any(0).nonzero()[:, 0].tolist(), default=-1)
    assert not words[:, common:].any()
    near = index.search(draw(len(words), 3, words.shape[2], seed=9, dtype=index.dtype), 3)
    close = {
        "words": words[:, :used].clone(),
        "write weights": memory.write_weights.values.detach(),
        "index scores": near.scores.nan_to_num(neginf=-9.0),
    }
    equal = {
        "read slots": memory.read_weights.slots,
        "write slots": memory.write_weights.slots,
        "index slots": near.slots,
        "occupancy": index.occupancy,
        "stamps": stamps[:, 1 : 1 + used].clone(),
        "clock": torch.tensor(order.clock),
        "next slots": next_slots(order),
    }
    if hasattr(memory, "links"):
        close["links"] = memory.links.to_dense()[:, :used, :used]
        equal["recent slots"], close["recent shares"] = memory.links.precedence
    return close, equal


def next_slots(order: AccessOrder) -> Tensor:
    """What an order hands out from now on, until it would begin again or for 30 steps."""
    found = []
    for _ in range(min(30, 2 + order.memory_size // order.count)):
        found.append(order.lru_slots().clone())
        order.record_access(found[-1], torch.ones(found[-1].shape), 0.5)
    return torch.stack(found)


@contextmanager
def watched() -> Iterator[Counter[str]]:
    """Counts the compiled sequences and steps inside the block."""
    paths: Counter[str] = Counter()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            found = function(*given)
            paths[name] += 1
            return found

        return call

    forms = compiled_forms()
    cell, memory, linked = forms.standard_cell, forms.memory_step, forms.linked_step.linked_step
    with (
        patch.object(cell, "run_sequence", counted("sequence", cell.run_sequence)),
        patch.object(cell, "run_step", counted("step", cell.run_step)),
        patch.object(memory, "compiled_step", counted("step", memory.compiled_step)),
        patch.object(forms.linked_step, "linked_step", counted("step", linked)),
    ):
        yield paths


def assert_same(found: Found, wanted: Found, *, rtol: float = 1e-10, atol: float = 1e-11) -> None:
    """Asserts that two outcomes agree in everything, and that no gradient is zero."""
    for exact, some, others in (
        (True, found.equal, wanted.equal),
        (False, found.close, wanted.close),
    ):
        assert some.keys() == others.keys()
        for name, tensor in some.items():
            tolerance = {"rtol": 0.0, "atol": 0.0} if exact else {"rtol": rtol, "atol": atol}
            torch.testing.assert_close(
                tensor, others[name], **tolerance, msg=lambda text, name=name: f"{name}: {text}"
            )
            assert not name.startswith("gradient") or tensor.any(), f"{name} is zero"


@functools.cache
def entered(function: Any) -> Any:
    """A compiled function that only compiled ones call, with an entry for Python."""
    import numba

    from index.compiled import OPTIONS

    return numba.njit(**OPTIONS)(lambda *given: function(*given))


def agree(
    scenario: Scenario, *, paths: Iterable[str] = ("sequence",), shared: int = 1, **options: Any
) -> tuple[Found, Found]:
    """Runs a scenario in both forms of a model and asserts that they agree.

    Args:
        scenario: what is run.
        paths: which compiled paths it must take, and no other: "sequence", "step".
        shared: by how many threads, in the compiled form.
        options: of the model.
    """
    with threads(shared):
        compiled = outcome(build(True, **options), scenario)
    plain = outcome(build(False, **options), scenario)
    assert set(+compiled.paths) == set(paths) and not +plain.paths
    assert_same(compiled, plain)
    return compiled, plain
