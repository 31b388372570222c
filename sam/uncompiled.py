"""Methods that `torch.compile` calls as they stand, instead of tracing them."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar, cast

import torch

from sam.private_torch import DISABLED, skip_compiling

F = TypeVar("F", bound=Callable[..., Any])

WHY = (
    "a memory is changed in place by loops over time that follow its content and are compiled "
    "already; torch.compile without fullgraph=True leaves the model as it is"
)


def uncompiled(method: F) -> F:
    """Decorates a method as `torch.compiler.disable` does, without loading the compiler.

    That takes seconds. The method is marked instead, and no call of it costs more. A torch that
    cannot be told so gets a wrapper, which calls that function when it is traced for the first
    time. From then on its result is the class's method.
    """
    if skip_compiling(method.__code__):
        return cast(F, _marked(method))
    return cast(F, _Method(method))


class _Method:
    """A method that has yet to learn its class and its name."""

    def __init__(self, method: Callable[..., Any]) -> None:
        self.method = method

    def __set_name__(self, owner: type, name: str) -> None:
        method = self.method

        @functools.wraps(method)
        def called(*args: Any, **kwargs: Any) -> Any:
            if torch.compiler.is_compiling():
                outside = _marked(torch.compiler.disable(method))
                setattr(owner, name, outside)
                return outside(*args, **kwargs)
            return method(*args, **kwargs)

        setattr(owner, name, _marked(called))


def _marked(function: Callable[..., Any]) -> Callable[..., Any]:
    for name, value in zip(DISABLED, (True, WHY), strict=True):
        setattr(function, name, value)
    return function
