"""The interface: one Linear from the controller's output to a memory's named controls."""

import math
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from sam.errors import ConfigError
from sam.memory.protocol import Field, Memory
from sam.ops.squash import ACTIVATIONS, Layout, squash
from sam.setting_checks import check_finite


class Interface(nn.Module):
    """p_t = linear(h_t), cut into the memory's fields, each squashed as the field says.

    Args:
        input_size: width of the controller's output.
        memory: whose `fields` to serve, as its `Controls`.
        device, dtype: of the parameters; torch's defaults without them.

    Raises:
        ConfigError: a field names an unknown activation.
    """

    def __init__(
        self,
        input_size: int,
        memory: Memory,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.fields: tuple[Field, ...] = tuple(memory.fields)
        for field in self.fields:
            if field.activation not in ACTIVATIONS:
                raise ConfigError(
                    f"activation of {field.name}: expected one of {', '.join(ACTIVATIONS)}, "
                    f"got {field.activation!r}"
                )
        self._controls = getattr(memory, "Controls", SimpleNamespace)
        self._names = [field.name for field in self.fields]
        self._layout: Layout = tuple((field.shape, field.activation) for field in self.fields)
        self._sizes = [math.prod(field.shape) for field in self.fields]
        self.linear = nn.Linear(input_size, sum(self._sizes), device=device, dtype=dtype)

    def set_bias(self, name: str, value: float) -> None:
        """Sets a field's bias: its numbers before the activation where the controller's are 0.

        Raises:
            ConfigError: there is no such field, or `value` is not finite.
        """
        if name not in self._names:
            raise ConfigError(f"bias: expected one of {', '.join(self._names)}, got {name!r}")
        check_finite(f"bias of {name}", value)
        place = self._names.index(name)
        with torch.no_grad():
            self.linear.bias.split(self._sizes)[place].fill_(value)

    def set_like(self, name: str, source: str) -> None:
        """Lets the vectors of a field begin as those of another, in turn where it has fewer.

        Where keys begin as the words that are written, a step is at first reminded of those at
        which the controller's output was like its present one.

        Raises:
            ConfigError: there is no such field, or the vectors of the two differ in length.
        """
        places = dict(zip(self._names, self.linear.weight.split(self._sizes), strict=True))
        biases = dict(zip(self._names, self.linear.bias.split(self._sizes), strict=True))
        shapes = {field.name: field.shape for field in self.fields}
        for field in (name, source):
            if field not in shapes:
                raise ConfigError(f"field: expected one of {', '.join(shapes)}, got {field!r}")
        (count, width), (given, length) = shapes[name], shapes[source]
        if width != length:
            raise ConfigError(f"{name}: expected vectors of {length} as {source}, got {width}")
        turns = torch.arange(count, device=self.linear.bias.device) % given
        with torch.no_grad():
            for parts in (places, biases):
                begun = parts[source].unflatten(0, (given, length))[turns]
                parts[name].copy_(begun.flatten(0, 1))

    def forward(self, hidden: Tensor) -> Any:
        """Controls, each [B, *shape], from the controller's output [B, C]."""
        return self.squashed(self.linear(hidden))

    def squashed(self, values: Tensor) -> Any:
        """Controls from what the linear layer put out, [B, P]."""
        fields = squash(values, self._layout)
        return self._controls(**dict(zip(self._names, fields, strict=True)))

    def extra_repr(self) -> str:
        return ", ".join(f"{f.name} {list(f.shape)} {f.activation}" for f in self.fields)
