"""What a run trains: model, optimizer, schedules, averaged and best parameters, carried state."""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from sam.state_files import state_dict
from sam.train.fall_back import FallBack
from sam.train.processes import ALONE, Processes
from sam.train.schedule import make_schedule
from sam.train.top_k import TopKSchedule
from sam.train.train_config import RunConfig


class Learner:
    """All that an update changes, besides the run's progress.

    Args:
        model: trained in place; not wrapped.
        optimizer: of its parameters.
        config: the run's settings.

    Raises:
        ConfigError: K is to fall, and the model has none; see `TopKSchedule`.
    """

    def __init__(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, config: RunConfig
    ) -> None:
        self.model, self.optimizer, self._config = model, optimizer, config
        decay = config.train.ema
        self.average: AveragedModel | None = None
        if decay is not None:
            self.average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.schedule: LRScheduler | None = None
        self.state: Any = None  # of the model, after the last batch of a stream
        self.best: dict[str, Tensor] | None = None  # parameters of the best evaluation
        modules: list[nn.Module] = [model]
        if self.average is not None:
            modules.append(self.average.module)
        self.fall_back: FallBack | None = None
        if config.train.fall_back_above is not None:
            self.fall_back = FallBack(config.train, modules, optimizer)
        self._top_k: TopKSchedule | None = None
        if config.train.first_top_k is not None:
            self._top_k = TopKSchedule(config, modules)
        self._updates = 0

    def begin(self, updates: int) -> None:
        """Sets what depends on the number of updates done; call it once, before the next one."""
        self.schedule = make_schedule(
            self._config.optimizer,
            self.optimizer,
            updates=updates,
            last=self._config.train.max_updates,
        )
        if self.average is not None:
            self.average.n_averaged.fill_(updates)
        self._updates = updates
        if self._top_k is not None:
            self._top_k.set(updates)

    def step(self) -> None:
        """Changes the parameters by their gradients, and all that follows them."""
        (self.optimizer if self.fall_back is None else self.fall_back).step()
        if self.schedule is not None:
            self.schedule.step()
        if self.average is not None:
            self.average.update_parameters(self.model)
        self._updates += 1
        if self._top_k is not None:
            self._top_k.set(self._updates)

    @property
    def rate(self) -> float:
        """The learning rate of the next update."""
        scale = 1.0 if self.fall_back is None else self.fall_back.state.scale
        return scale * self.optimizer.param_groups[0]["lr"]

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return self.optimizer.param_groups[0]["params"][
            0
        ].device  # a module looks through its parts

    @property
    def evaluated(self) -> nn.Module:
        """The model to evaluate: with averaged parameters, if they are averaged."""
        return self.model if self.average is None else self.average.module

    def keep(self) -> None:
        """Remembers the evaluated parameters as the best ones."""
        self.best = {name: value.clone() for name, value in self.evaluated.state_dict().items()}

    def result(self) -> nn.Module:
        """The model that the run results in."""
        if self._top_k is not None:
            self._top_k.finish()
        if self.best is None:
            return self.evaluated
        model = copy.deepcopy(self.evaluated)
        model.load_state_dict(self.best)
        return model

    def carried(self, processes: Processes = ALONE) -> list[dict[str, Any]] | None:
        """What the carried state of each process consists of; all processes call this together."""
        if self.state is None:
            return None
        parts = state_dict(self.state)
        return processes.gather(
            {name: p.cpu() if isinstance(p, Tensor) else p for name, p in parts.items()}
        )
