"""Episodes over a base, and the same over a dense copy of its words, for the tests beside."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import BaseMemory
from sam import SAM, SDNC, CellState

B, INPUTS, OUTPUTS, W = 3, 5, 3, 6
FORMS = ("plain", "step by step, compiled", "whole sequence, compiled")
MODELS = {"sam": SAM, "sdnc": SDNC}


def normal(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def base_words(count: int, seed: int = 0) -> Tensor:
    """Words that float32 holds, so that a base does, [n, W]."""
    return normal(count, W, seed=seed).float()


def make_base(path: Any, words: Tensor, metric: Any = "cosine") -> BaseMemory:
    return BaseMemory.create(path, words, metric=metric)


def make_model(kind: str, memory_size: int, form: str = FORMS[0], seed: int = 0, **options: Any):
    """A model in float64, the same one for a seed."""
    torch.manual_seed(seed)
    heads: dict[str, Any] = {"num_heads": 2} if kind == "sam" else {"num_reads": 2}
    sizes = {"hidden_size": 12, "memory_size": memory_size, "word_size": W, "top_k": 2}
    compiled = form != FORMS[0]
    options = {**heads, **sizes, "compiled": compiled, "dtype": torch.float64} | options
    return MODELS[kind](INPUTS, OUTPUTS, **options)


class Episode(NamedTuple):
    """What came out."""

    outputs: Tensor  # [T, B, O]
    gradients: list[Tensor]  # of the inputs and all parameters
    state: CellState
    slots: Tensor  # of w^R and w^W of the last step


def run(model: Any, state: CellState, inputs: Tensor, form: str, **options: Any) -> Episode:
    """Outputs and gradients of an episode."""
    model.zero_grad()
    inputs = inputs.clone().requires_grad_()
    if form == FORMS[1]:
        outputs = []
        for step in range(len(inputs)):
            now = {name: part[step : step + 1] for name, part in options.items()}
            found, state = model(inputs[step : step + 1], state, **now)
            outputs.append(found)
        outputs = torch.cat(outputs)
    else:
        outputs, state = model(inputs, state, **options)
    weight = normal(*outputs.shape, seed=5)
    (outputs * weight).square().sum().backward()
    gradients = [part.grad.clone() for part in (inputs, *model.parameters())]
    memory = state.memory
    slots = (memory.slots_of(part.slots) for part in (memory.read_weights, memory.write_weights))
    return Episode(
        outputs.detach(), gradients, state, torch.cat([part.flatten() for part in slots])
    )


def assert_same(found: Episode, expected: Episode) -> None:
    """Outputs, gradients, slots and all words."""
    torch.testing.assert_close(found.outputs, expected.outputs, rtol=0, atol=1e-12)
    for one, other in zip(found.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)
    assert torch.equal(found.slots, expected.slots)
    every = torch.arange(expected.state.memory.words.memory_size)
    words = (episode.state.memory.get(every) for episode in (found, expected))
    torch.testing.assert_close(*words, rtol=0, atol=1e-12)
    in_use = (episode.state.memory.words_in_use for episode in (found, expected))
    assert torch.equal(*in_use)
