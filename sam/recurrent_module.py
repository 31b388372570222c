"""What code written for nn.LSTM does with a module beside calling it."""

from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Self, TypeVar

from torch import Tensor, nn

from sam.errors import ConfigError, UnsupportedError

S = TypeVar("S")


class RecurrentModule(nn.Module):
    """A module whose parameters can be drawn anew, and which refuses a dtype before it has it."""

    def reset_parameters(self) -> None:
        """Draws all parameters anew, as the constructor does from the same seed.

        Raises:
            ConfigError: a part has parameters and no method `reset_parameters`; then nothing has
                changed.
        """
        for part in [*_resettable(self.children())]:
            part.reset_parameters()

    def flatten_parameters(self) -> None:
        """Does nothing: no parameters are packed into one piece of memory here."""

    def check_converted(self, like: Tensor) -> None:
        """Raises ConfigError if parameters may not be of the dtype of `like`."""

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # What `to`, `half`, `double` and their like call, of this module or of one around it.
        for parameter in self.parameters():
            if parameter.is_floating_point():
                self.check_converted(fn(parameter.detach().new_empty(0)))
                break
        return super()._apply(fn, recurse)

    def __prepare_scriptable__(self) -> NoReturn:
        # What torch.jit.script asks a module for.
        raise UnsupportedError(
            "torch.jit.script: expected a call in Python; a memory is changed in place by loops "
            "over time that follow its content, which TorchScript has no form of"
        )


def _resettable(parts: Any) -> Iterator[Any]:
    """The modules from these down that can draw their own parameters anew."""
    for part in parts:
        if hasattr(part, "reset_parameters"):
            yield part
        elif any(True for _ in part.parameters(recurse=False)):
            raise ConfigError(
                "reset_parameters: expected parts that have this method, "
                f"got a {type(part).__name__} with parameters and without it"
            )
        else:
            yield from _resettable(part.children())


def either_state(state: S | None, hx: S | None) -> S | None:
    """The state that a call is given, by this name or by that of nn.LSTM.

    Raises:
        ConfigError: it is given by both.
    """
    if hx is None:
        return state
    if state is not None:
        raise ConfigError("hx: expected None beside a state, as it is the same, got both")
    return hx
