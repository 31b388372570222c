"""The models by name, for `make_model`, the recipes and the command line."""

from typing import Any

from torch import nn

from sam.errors import ConfigError, unknown_name
from sam.models.assembly import remember, remembered
from sam.models.dam_model import DAM
from sam.models.dnc_model import DNC
from sam.models.lstm_model import LSTM
from sam.models.ntm_model import NTM
from sam.models.sam_model import SAM
from sam.models.sdnc_model import SDNC
from sam.plugins import load_plugin, plugin_names

_MODELS: dict[str, type[nn.Module]] = {
    "dam": DAM,
    "dnc": DNC,
    "lstm": LSTM,
    "ntm": NTM,
    "sam": SAM,
    "sdnc": SDNC,
}


def available_models() -> tuple[str, ...]:
    """Names that `make_model` takes, those that installed packages bring included."""
    return tuple(sorted({*_MODELS, *plugin_names("models")}))


def model_class(name: str) -> type[nn.Module]:
    """The class registered under `name`.

    Raises:
        UnknownNameError: no such model; the text lists the known ones.
    """
    if name not in _MODELS and (brought := load_plugin("models", name)) is not None:
        register_model(name, brought)
    if name not in _MODELS:
        raise unknown_name("model", name, _MODELS)
    return _MODELS[name]


def make_model(name: str, input_size: int, output_size: int, **settings: Any) -> nn.Module:
    """Builds a model by name; `settings` are its constructor's keyword arguments."""
    model = model_class(name)(input_size, output_size, **settings)
    remember(model, {"input_size": input_size, "output_size": output_size, **settings}, name)
    return model


def made_with(model: nn.Module) -> tuple[str, dict[str, Any]]:
    """What `make_model` makes such a model from: its name, and its arguments.

    Raises:
        ConfigError: it was made neither by `make_model` nor by a constructor that is registered.
    """
    kind, arguments = remembered(model)
    names = [name for name, cls in _MODELS.items() if cls is type(model)]
    if kind is None and names:
        kind = names[0]
    if kind is None or arguments is None:
        raise ConfigError(
            f"model: expected one made by make_model or as one of {', '.join(sorted(_MODELS))}, "
            f"got a {type(model).__name__} of your own; register_model what builds it and call "
            "make_model, or save its state_dict()"
        )
    return kind, arguments


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
