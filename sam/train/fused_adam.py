"""Adam and AdamW of torch, fused, with fewer calls from Python: the same numbers, bit by bit.

The optimizer of torch asks its profiler and its hooks, sorts the tensors by device, and looks at
settings that are not used here. With a model of the usual size that takes longer than the update.
"""

from typing import Any, ClassVar

import torch

from sam.private_torch import foreach_add, fused_adam, fused_adamw
from sam.train.direct import Direct


class _FewCalls(Direct):
    """The step of both; state and settings are those of torch.

    Hooks of a step are not called.
    """

    _update: ClassVar[Any]
    param_groups: Any
    state: Any

    def step(self, closure: Any = None) -> Any:
        """Changes the parameters that have gradients.

        Args:
            closure: as torch has it.
        """
        parameters = [p for group in self.param_groups for p in group["params"]]
        with torch.no_grad():
            if closure is not None or not self._is_begun(parameters):
                return self.by_torch(closure)
            for group in self.param_groups:
                self._change(group)
        return None

    step.hooked = True  # type: ignore[attr-defined]  # so that torch puts nothing around it

    def _is_begun(self, parameters: list[Any]) -> bool:
        """Whether all parameters have a state, and are of one kind."""
        first = parameters[0]
        return all(
            len(self.state.get(p, ())) > 0 and p.dtype == first.dtype and p.device == first.device
            for p in parameters
        )

    def _change(self, group: dict[str, Any]) -> None:
        given = [p for p in group["params"] if p.grad is not None]
        if not given:
            return
        states = [self.state[p] for p in given]
        steps = [state["step"] for state in states]
        assert foreach_add is not None
        foreach_add(steps, 1)
        beta1, beta2 = group["betas"]
        type(self)._update(
            given,
            [p.grad for p in given],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            steps,
            amsgrad=False,
            lr=group["lr"],
            beta1=beta1,
            beta2=beta2,
            weight_decay=group["weight_decay"],
            eps=group["eps"],
            maximize=False,
            grad_scale=None,
            found_inf=None,
        )


class _Adam(_FewCalls, torch.optim.Adam):
    _update = fused_adam


class _AdamW(_FewCalls, torch.optim.AdamW):
    _update = fused_adamw


def adam(name: str) -> type[torch.optim.Optimizer]:
    """The class "adam" or "adamw", to be made with `fused=True`; torch's own where it has no parts.

    Only for a learning rate that is a number, without `amsgrad`, `maximize` or a gradient scale.
    """
    if fused_adam is None or fused_adamw is None or foreach_add is None:
        return torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return _AdamW if name == "adamw" else _Adam
