"""A few updates of a model, by one process or by several that share every batch."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from tests.models.cases import IN, B, build, draw

UPDATES, T = 5, 6


class Case(NamedTuple):
    """A model, and how it is called."""

    name: str
    options: dict[str, Any]
    calls: tuple[int, ...]  # steps of the calls of which an episode consists, one backward for all
    carried: bool = False  # whether an update goes on from the state of the one before


class Found(NamedTuple):
    """What training left."""

    gradients: dict[str, Tensor]  # of the first update
    parameters: dict[str, Tensor]  # after the last one


def train(case: Case, model: nn.Module, rows: slice) -> Found:
    """Trains on these rows of each batch; the loss is the mean over them."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    gradients: dict[str, Tensor] = {}
    state = None
    for update in range(UPDATES):
        inputs = draw(T, B, IN) * (1 + update)
        state = state.detach() if case.carried and state is not None else None
        loss = torch.zeros((), dtype=torch.float64)
        for part in inputs[:, rows].split([*case.calls]):
            outputs, state = model(part, state)
            loss = loss + outputs.square().sum((0, 2)).mean()
        optimizer.zero_grad()
        loss.backward()
        if not update:
            gradients = {
                name: value.grad.clone()
                for name, value in model.named_parameters()
                if value.grad is not None
            }
        optimizer.step()
    return Found(gradients, {name: value.detach() for name, value in model.named_parameters()})


def train_in_a_process(cases: dict[str, Case], folder: Path) -> None:
    """Trains every case on this process's share and leaves what it found in `folder`."""
    rank, count = distributed.get_rank(), distributed.get_world_size()
    share = B // count
    for key, case in cases.items():
        model = DistributedDataParallel(build(case.name, case.options))
        found = train(case, model, slice(rank * share, (rank + 1) * share))
        plain = Found(*({n.removeprefix("module."): v for n, v in part.items()} for part in found))
        torch.save(plain._asdict(), folder / f"{key}-{rank}.pt")
