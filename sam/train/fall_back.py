"""The way back from a collapse: the best parameters so far, and a lower learning rate.

At a constant rate recurrent memories are lost again and again, often within ten updates, and it can
take as long as before until they are found once more. Here the losses of `train.window` updates are
averaged, block after block. The parameters at the end of the block with the lowest mean of this
level are kept. A block whose mean is above that by `train.fall_back_above` or more ends with the
kept parameters in place of the present ones, an optimizer that knows nothing of the past, and
`train.fall_back_rate` of the learning rate. A harder level begins a new count, as its loss is
higher; the parameters kept are then the ones that reached it.
"""

import copy
from collections.abc import Sequence
from statistics import fmean
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from sam.train.train_config import TrainConfig

Parameters = dict[str, Tensor]


class FallBackState(NamedTuple):
    """All that the next decision depends on."""

    losses: tuple[float, ...] = ()  # of the block so far, in bits per target or as the kind says
    lowest: float | None = None  # mean of a block at this level
    scale: float = 1.0  # what is left of the learning rate
    kept: tuple[Parameters, ...] = ()  # of the model and, if there is one, of the average


class FallBack:
    """Watches the losses of a run, and goes back where they have risen.

    Args:
        config: how much is too much, how long a block is, and what is left of the rate.
        modules: the model, and its averaged copy if there is one.
        optimizer: of the model.
    """

    def __init__(
        self, config: TrainConfig, modules: Sequence[nn.Module], optimizer: torch.optim.Optimizer
    ) -> None:
        self._config, self._modules, self._optimizer = config, modules, optimizer
        self.state = FallBackState()

    def updated(self, loss: float, *, harder: bool) -> bool:
        """Takes note of an update.

        Args:
            loss: of the update, for each target.
            harder: whether the next update is of a harder level.

        Returns:
            Whether the parameters were put back.
        """
        if harder:
            self.state = self.state._replace(losses=(), lowest=None, kept=self._copies())
            return False
        losses = (*self.state.losses, loss)
        if len(losses) < self._config.window:
            self.state = self.state._replace(losses=losses)
            return False
        mean, lowest, above = fmean(losses), self.state.lowest, self._config.fall_back_above
        self.state = self.state._replace(losses=())
        if lowest is None or mean < lowest:
            self.state = self.state._replace(lowest=mean, kept=self._copies())
            return False
        if above is None or mean < lowest + above:
            return False
        self.state = self.state._replace(scale=self.state.scale * self._config.fall_back_rate)
        for module, parameters in zip(self._modules, self.state.kept, strict=True):
            module.load_state_dict(parameters)
        _forget(self._optimizer)
        return True

    def step(self) -> None:
        """A step of the optimizer, at what is left of its learning rate."""
        if self.state.scale == 1:
            self._optimizer.step()
            return
        groups = self._optimizer.param_groups
        rates = [group["lr"] for group in groups]
        for group in groups:
            group["lr"] *= self.state.scale
        self._optimizer.step()
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate

    def _copies(self) -> tuple[Parameters, ...]:
        return tuple(copy.deepcopy(dict(module.state_dict())) for module in self._modules)


def _forget(optimizer: torch.optim.Optimizer) -> None:
    """Sets an optimizer's state to what it was before its first step."""
    for state in optimizer.state.values():
        for value in state.values():
            if isinstance(value, Tensor):
                value.zero_()


def as_content(state: FallBackState) -> dict[str, Any]:
    """The state in plain containers, for a checkpoint."""
    return state._asdict() | {"losses": list(state.losses), "kept": list(state.kept)}
