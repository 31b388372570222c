"""A journal on a device that has to be waited for: its states are those that were there."""

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.models.cases import B, build, draw

STEPS = 8


def tensors(part: Any) -> list[Tensor]:
    if isinstance(part, Tensor):
        return [part]
    if isinstance(part, tuple):
        return [tensor for field in part for tensor in tensors(field)]
    return tensors(tuple(part.content().values())) if hasattr(part, "content") else []


@pytest.mark.parametrize("options", [{}, {"memory_size": 7}], ids=["", "every slot in use"])
@pytest.mark.parametrize("name", ["sam", "sdnc"])
def test_past_states_are_those_that_were_there(place: Any, name: str, options: Any) -> None:
    model = place.model(build(name, options))
    inputs = place.put(draw(STEPS, B, model.input_size))
    starts = place.put(torch.rand(STEPS, B) < 0.2)
    copies = []
    with torch.no_grad():
        state = model.initial_state(B).record()
        for step in range(STEPS):
            copies.append(state._replace(journal=None).clone())
            part = slice(step, step + 1)
            _, state = model(inputs[part], state, starts=starts[part])
        for step, copy in enumerate(copies):
            found, expected = tensors(state.at(step)), tensors(copy)
            for mine, theirs in zip(found, expected, strict=True):
                assert torch.equal(place.fetch(mine), place.fetch(theirs))
        rows = place.put(torch.tensor([2, 0]))
        rest, anew = inputs[5:].index_select(1, rows), starts[5:].index_select(1, rows)
        _, some = model(rest, state.at(5, rows), starts=anew)
        expected = state.at(STEPS).rows(rows)
    torch.testing.assert_close(place.fetch(some.reads), place.fetch(expected.reads))
