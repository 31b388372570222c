"""Models on disk: which one it is, what it was made with, and its parameters."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from index import IndexConfig
from index.contents import Contents
from index.tensor_files import read_parts, write_parts
from sam.errors import CheckpointError, ConfigError
from sam.models.assembly import Remembering
from sam.models.model_registry import made_with, make_model, model_class


def save_model(model: nn.Module, path: str | Path, *, notes: dict[str, str] | None = None) -> None:
    """Writes a model to a file, for `load_model`; whole or not at all.

    Args:
        model: made by `make_model`, or by the constructor of one of the library's models.
        path: the file to write or replace; a safetensors file, parameters under their names.
        notes: metadata for other readers.

    Raises:
        ConfigError: it was built by hand, or changed since, so that nobody could build it again.
        BackendMissingError: safetensors is not installed.
        OSError: the file cannot be written.
    """
    kind, arguments = made_with(model)
    plain = {name: _plain(name, value) for name, value in arguments.items()}
    parameters = model.state_dict()
    rebuilt = _built(kind, arguments, "cpu")
    changed = _shapes(rebuilt.state_dict()) != _shapes(parameters) or _memory(rebuilt) != _memory(
        model
    )
    if changed:
        raise ConfigError(
            f"model: expected a {kind!r} as it was made, got one of which a part was replaced; "
            "save its state_dict()"
        )
    write_parts(path, "model", {"kind": kind, "arguments": plain, **parameters}, notes=notes)


def load_model(path: str | Path, *, device: torch.device | str | None = None) -> nn.Module:
    """Reads a model that was saved.

    Args:
        path: a file of `save_model`, such as the `model.safetensors` of a run. It may come from a
            stranger: nothing in it is run.
        device: where its parameters are to live; the CPU unless told.

    Returns:
        The model, with the parameters and dtypes that were saved, in training mode.

    Raises:
        CheckpointError: the file is damaged, or no model that is registered here.
        BackendMissingError: safetensors is not installed.
        OSError: there is no such file, or it cannot be read.
    """
    given = read_parts(path, "model", CheckpointError)
    kind, arguments = given.setting("kind", str), given.setting("arguments", dict)
    try:
        arguments = {name: _told(value) for name, value in arguments.items()}
        # Without space for the parameters first: so many there may be as the file has.
        own = isinstance(cls := model_class(kind), type) and issubclass(cls, Remembering)
        rebuilt = _built(kind, arguments, "meta" if own else "cpu")
        parameters = _taken(given, rebuilt.state_dict())
        given.finish()
        model = _built(kind, arguments, "cpu")
    except (ValueError, TypeError, NotImplementedError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise given.refuse("kind", "a model that can be made here", error) from error
    model.load_state_dict(parameters, assign=True)
    return model if device is None else model.to(device)


def _built(kind: str, arguments: dict[str, Any], device: str) -> nn.Module:
    """A model of these settings; torch's generator is left as it was."""
    with torch.random.fork_rng(devices=[]), torch.device(device):
        return make_model(kind, **arguments)


def _taken(given: Contents, expected: dict[str, Any]) -> dict[str, Tensor]:
    """The parameters of a file, each of the shape expected, floats of any width."""
    parameters = {}
    for name, like in expected.items():
        found = given.peek(name)
        floats = found is not None and found.is_floating_point() and like.is_floating_point()
        dtype = found.dtype if found is not None and floats else like.dtype
        parameters[name] = given.tensor(name, like.shape, dtype)
    return parameters


def _shapes(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, "shape", None) for name, value in parameters.items()}


def _memory(model: nn.Module) -> Any:
    """The settings of the memory of one of the library's models: no parameter's shape shows all."""
    cell = getattr(model, "cell", None)
    return getattr(cell, "memory", None) if isinstance(model, Remembering) else None


def _plain(name: str, value: Any) -> Any:
    """A constructor's argument as JSON has it."""
    if isinstance(value, IndexConfig):
        return value.settings()
    if isinstance(value, bool | int | float | str | None):
        return value
    if isinstance(value, list | tuple):
        return [_plain(name, part) for part in value]
    if isinstance(value, Path):
        return str(value)
    raise ConfigError(
        f"{name}: expected a number, text, a truth value or an IndexConfig, "
        f"got a {type(value).__name__}, which no file can hold; save the model's state_dict()"
    )


def _told(value: Any) -> Any:
    """The argument that `_plain` made this of; of a list a tuple, of a path its text."""
    if isinstance(value, list):
        return tuple(_told(part) for part in value)
    return IndexConfig.from_settings(value) if isinstance(value, dict) else value
