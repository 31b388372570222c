"""The optimizer of a run, and the gradients it is given.

An update of a model of the usual size takes a few milliseconds. The optimizer's calls from Python
are a good part of that, so there are as few of them as possible here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from sam.private_torch import foreach_mul, foreach_norm
from sam.train.direct import Direct
from sam.train.fused_adam import adam
from sam.train.train_config import OptimizerConfig


class _RMSprop(Direct, torch.optim.RMSprop):
    def step(self, closure: Any = None) -> Any:
        with torch.no_grad():
            return self.by_torch(closure)


def make_optimizer(config: OptimizerConfig, model: nn.Module) -> torch.optim.Optimizer:
    """Builds the optimizer of a run.

    Cost: an update of Adam is one call for all parameters; torch has no such form of RMSProp.
    """
    # The whole number 0 is torch's default, which checkpoints of version 0.1.0 hold.
    shared: dict[str, Any] = {"lr": config.lr, "weight_decay": config.weight_decay or 0}
    if config.name == "rmsprop":
        return _RMSprop(model.parameters(), alpha=config.decay, momentum=config.momentum, **shared)
    made: Any = adam(config.name)
    return made(model.parameters(), betas=config.betas, fused=True, **shared)


def optimized(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """The parameters that an optimizer updates."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def clear_gradients(parameters: Sequence[Tensor]) -> None:
    """Does what `Optimizer.zero_grad` does, without the cost of its profiler hooks."""
    for parameter in parameters:
        parameter.grad = None


def clip_gradients(parameters: Sequence[Tensor], longest: float) -> float:
    """Scales the gradients, taken as one vector g, down to a norm.

        g <- g min(1, longest / |g|)

    Args:
        parameters: those without a gradient are left out.
        longest: upper limit of |g|.

    Returns:
        |g| before scaling. If it is NaN or infinite, the gradients must not be used.

    Cost: one pass over the gradients, and a second one if they are too long; waits once for the
    device.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if foreach_norm is None:
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
    else:
        norms = foreach_norm(gradients)
    norm = torch.linalg.vector_norm(torch.stack(norms)).item()
    if norm > longest and foreach_mul is not None:
        foreach_mul(gradients, longest / norm)
    elif norm > longest:
        for gradient in gradients:
            gradient.mul_(longest / norm)
    return norm
