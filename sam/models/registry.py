"""The models by name, for `make_model`, the recipes and the command line."""

from typing import Any

from torch import nn

from sam.errors import ConfigError, unknown_name
from sam.models.dam import DAM
from sam.models.dnc import DNC
from sam.models.lstm import LSTM
from sam.models.ntm import NTM
from sam.models.sam import SAM
from sam.models.sdnc import SDNC

_MODELS: dict[str, type[nn.Module]] = {
    "dam": DAM,
    "dnc": DNC,
    "lstm": LSTM,
    "ntm": NTM,
    "sam": SAM,
    "sdnc": SDNC,
}


def available_models() -> tuple[str, ...]:
    """Names that `make_model` takes."""
    return tuple(sorted(_MODELS))


def model_class(name: str) -> type[nn.Module]:
    """The class registered under `name`.

    Raises:
        UnknownNameError: no such model; the text lists the known ones.
    """
    if name not in _MODELS:
        raise unknown_name("model", name, _MODELS)
    return _MODELS[name]


def make_model(name: str, input_size: int, output_size: int, **settings: Any) -> nn.Module:
    """Builds a model by name; `settings` are its constructor's keyword arguments."""
    return model_class(name)(input_size, output_size, **settings)


def register_model(name: str, cls: type[nn.Module]) -> None:
    """Adds a model for `make_model` and the recipes.

    Args:
        name: not taken yet.
        cls: called as ``cls(input_size, output_size, **settings)``, settings keyword-only.

    Raises:
        ConfigError: the name is taken.
    """
    if name in _MODELS:
        raise ConfigError(f"model: expected a name that is not taken, got {name!r}")
    _MODELS[name] = cls
