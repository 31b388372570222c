"""Optimizers of torch without its compiler, which torch loads as soon as one is made.

It loads it to keep the compiler out of some methods, which takes as long as to load all the rest of
torch. As long as nothing has loaded it, there is nothing to keep out, and the methods are called as
they are written.
"""

import inspect
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any


def direct(method: Any) -> Callable[..., Any]:
    """A bound method without what torch has put around it, unless its compiler is loaded."""
    if "torch._dynamo" in sys.modules:
        return method
    return MethodType(inspect.unwrap(method.__func__), method.__self__)


class Direct:
    """Comes before an optimizer of torch among the bases of a class."""

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        direct(super().add_param_group)(param_group)  # type: ignore[misc]

    def state_dict(self) -> dict[str, Any]:
        return direct(super().state_dict)()  # type: ignore[misc]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        direct(super().load_state_dict)(state_dict)  # type: ignore[misc]

    def zero_grad(self, set_to_none: bool = True) -> None:
        direct(super().zero_grad)(set_to_none)  # type: ignore[misc]

    def by_torch(self, closure: Any) -> Any:
        """The step of torch, inside `torch.no_grad`."""
        return direct(super().step)(closure)  # type: ignore[misc]
