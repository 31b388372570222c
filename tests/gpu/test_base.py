"""States over a base on a device that has to be waited for: the results of the CPU."""

from pathlib import Path
from typing import Any

import pytest
import torch

from index import BaseMemory
from sam import CellState
from tests.models.cases import IN, B, build, draw


def results(
    model: Any, inputs: torch.Tensor, base: BaseMemory, put: Any, fetch: Any
) -> tuple[Any, ...]:
    """Outputs before and after rows began anew or came from elsewhere, gradients and words."""
    outputs, state = model(inputs[:4], model.initial_state(B, base=base))
    starts = torch.zeros(4, B, dtype=torch.bool)
    starts[2, 1] = True
    joined = CellState.cat([state[1:2], state[[0, 0]], model.initial_state(B - 3, base=base)])
    joined = joined.apply(state.diff().rows([1]).to(inputs.device))
    later, after = model(inputs[4:], joined, starts=put(starts))
    (outputs.square().sum() + later.square().sum()).backward()
    grads = {name: fetch(parameter.grad) for name, parameter in model.named_parameters()}
    words = after.memory.get(put(torch.arange(model.cell.memory.memory_size)))
    return fetch(outputs), fetch(later), grads, fetch(words), fetch(after.memory.words_in_use)


@pytest.mark.parametrize("name", ["sam"])
def test_episodes_over_a_base_equal_the_cpus(place: Any, tmp_path: Path, name: str) -> None:
    options: dict[str, Any] = {"memory_size": 21}
    size = build(name, options).cell.memory.word_size
    words = torch.randn(18, size, generator=torch.Generator().manual_seed(1))
    base = BaseMemory.create(tmp_path / "base", words)
    inputs = draw(8, B, IN)
    here = build(name, options), inputs, base, lambda x: x, torch.Tensor.detach
    expected = results(*here)
    model = place.model(build(name, options))
    found = results(model, place.put(inputs), base, place.put, place.fetch)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
