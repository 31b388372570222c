"""Who begins episodes in a way of their own is asked, by every call without a state."""

from dataclasses import asdict
from typing import Any

import pytest
import torch

from sam import SAM
from sam.memory.sam import SAMMemory

SIZES: dict[str, Any] = {"memory_size": 32, "hidden_size": 8, "word_size": 4, "compiled": False}


class Loaded(SAMMemory):
    """Begins with a word; takes no keyword that it does not know."""

    def initial_state(self, batch_size: int, *, device: Any = None, dtype: Any = None) -> Any:  # type: ignore[override]
        words = torch.ones(1, self.word_size)
        return super().initial_state(batch_size, device=device, dtype=dtype, words=words)


def test_a_memory_that_derives_from_ours():
    model = SAM(3, 2, **SIZES)
    memory: Any = model.cell.memory
    model.cell.memory = Loaded(**asdict(memory))
    _, state = model(torch.zeros(1, 2, 3))
    assert bool((state.memory.words.words[:, 0] != 0).any())


@pytest.mark.parametrize("whose", ["model", "cell"])
def test_a_function_of_an_instance(whose):
    model = SAM(3, 2, **SIZES)
    part = model if whose == "model" else model.cell
    begin, asked = part.initial_state, []

    def begins(batch_size: int, **kind: Any) -> Any:
        asked.append(kind)
        return begin(batch_size, **kind)

    part.initial_state = begins
    model(torch.zeros(6, 2, 3))
    assert len(asked) == 1
    assert "steps" not in asked[0]
