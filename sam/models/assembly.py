"""What the constructors of the models share: checked sizes, and a cell around a memory."""

import inspect
from typing import Any, Literal, Self

import torch
from torch import nn

from index import open_base
from sam.cell import MemoryCell
from sam.controller import make_controller
from sam.embedding import ImageEmbedding, embedded_width, make_embedding
from sam.errors import ConfigError
from sam.memory.protocol import Memory
from sam.network import MemoryNetwork
from sam.setting_checks import check_choice

FirstKeys = Literal["drawn", "like_words"]
ControllerName = Literal["lstm", "gru", "feedforward"]


def input_width(
    input_size: int,
    output_size: int,
    hidden_size: int,
    embedding_size: int | None,
    image_size: int | None,
) -> int:
    """Width of what the recurrent layer is given, once the sizes are checked.

    Raises:
        ConfigError: a size is not a positive integer.
    """
    sizes = {
        "input_size": input_size,
        "output_size": output_size,
        "hidden_size": hidden_size,
        "embedding_size": 1 if embedding_size is None else embedding_size,
        "image_size": 1 if image_size is None else image_size,
    }
    for name, value in sizes.items():
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name}: expected an integer of at least 1, got {value!r}")
    return embedded_width(input_size, embedding_size, image_size)


def remember(model: nn.Module, arguments: dict[str, Any], kind: str | None = None) -> None:
    """Notes at a model what it is made with, so that `save_model` can tell.

    Where its parameters are, and in which dtype, they tell themselves.
    """
    of_model = {key: value for key, value in arguments.items() if key not in ("device", "dtype")}
    vars(model)["_made"] = kind, of_model


def remembered(model: nn.Module) -> tuple[str | None, dict[str, Any] | None]:
    """Name and arguments, as far as they were noted."""
    return vars(model).get("_made", (None, None))


class Remembering(nn.Module):
    """A module that knows what its constructor was given."""

    def __new__(cls, *args: Any, **arguments: Any) -> Self:
        model = super().__new__(cls)
        # A copy and an unpickled model are made without arguments, and are told later.
        if args or arguments:
            try:
                given = inspect.signature(cls.__init__).bind(model, *args, **arguments)
            except TypeError:
                return model  # the constructor says it better
            remember(model, dict([*given.arguments.items()][1:]))
        return model


class NamedNetwork(Remembering, MemoryNetwork):
    """A `MemoryNetwork` with one of the library's controllers; the models derive from it.

    Args:
        input_size: I.
        output_size: O.
        memory: what the model is named after.
        base: folder of a base, in one piece or in shards, over which episodes begin.
        hidden_size: C, units of each layer of the controller.
        controller: "lstm", "gru" or "feedforward".
        num_layers: layers of the controller; see `StackedController`.
        forget_bias: initial bias of an LSTM controller's forget gate.
        biases: initial biases of the interface, by the name of the field; drawn where None.
        first_keys: "drawn", or "like_words": keys begin as the words that are written.
        embedding_size, image_size: as in `make_embedding`.
        dropout, batch_first: as in `MemoryNetwork`.
        device, dtype: of all parameters; torch's defaults without them.

    Raises:
        ConfigError: a size is not positive.
        UnknownNameError: no such controller.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int,
        memory: Memory,
        *,
        base: str | None = None,
        hidden_size: int,
        controller: str,
        num_layers: int,
        forget_bias: float,
        embedding_size: int | None,
        image_size: int | None,
        dropout: float,
        batch_first: bool,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
        biases: dict[str, float | None] | None = None,
        first_keys: FirstKeys = "drawn",
    ) -> None:
        width = input_width(input_size, output_size, hidden_size, embedding_size, image_size)
        kind: Any = {"device": device, "dtype": dtype}
        embedding: nn.Linear | ImageEmbedding | None = make_embedding(
            input_size, embedding_size, image_size, **kind
        )
        driver = make_controller(
            controller,
            width + memory.num_reads * memory.word_size,
            hidden_size,
            num_layers=num_layers,
            forget_bias=forget_bias,
            **kind,
        )
        super().__init__(
            MemoryCell(driver, memory, **kind),
            output_size,
            embedding=embedding,
            dropout=dropout,
            batch_first=batch_first,
            **kind,
        )
        for name, value in (biases or {}).items():
            if value is not None:
                self.cell.interface.set_bias(name, value)
        check_choice("first_keys", first_keys, ("drawn", "like_words"))
        if first_keys == "like_words":
            self.cell.interface.set_like("keys", "adds")
        if base is not None:
            self.base = open_base(base)
