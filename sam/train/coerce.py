"""Checks what was read from a file (TOML, JSON, a checkpoint) against type hints."""

import dataclasses
import types
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

from index.errors import closest_names
from sam.errors import ConfigError

_SHOWN = 80  # characters of a wrong value


def fill(cls: type, table: dict[str, Any], section: str, source: str) -> Any:
    """Builds a settings dataclass from one table.

    Args:
        cls: the dataclass.
        table: its keys and values; a key that is not given keeps its default.
        section: the table's name, for messages.
        source: the file, for messages.

    Returns:
        The instance.

    Raises:
        ConfigError: a key is unknown (the closest known one is named), a value has the wrong type,
            or the class refuses it.
    """
    known = {field.name for field in dataclasses.fields(cls) if field.init}
    for key in table:
        if key not in known:
            raise unknown_key(f"{source}: {section}.{key}", key, known, section)
    hints = get_type_hints(cls)
    values = {
        key: coerce(value, hints[key], f"{source}: {section}.{key}") for key, value in table.items()
    }
    return cls(**values)


def unknown_key(what: str, key: str, known: Iterable[str], section: str) -> ConfigError:
    """Builds the error for an unknown key, with the closest known one."""
    names = sorted(known)
    closest = closest_names(key, names, cutoff=0.5)
    prefix = f"{section}." if section else ""
    hint = f"; did you mean {prefix + closest[0]!r}?" if closest else ""
    return ConfigError(f"{what}: unknown key, expected one of {', '.join(names)}{hint}")


def coerce(value: Any, hint: Any, key: str) -> Any:
    """Converts `value` to the type that `hint` asks for, without guessing.

    A whole number is accepted as a float, a list as a tuple, and text as a path. Nothing else is
    converted: ``"8"`` is no number and ``1`` is no bool. For a `TypedDict` the required keys must
    be there, and the values of known keys must fit; other keys are kept as they are.

    Raises:
        ConfigError: the value is of another type.
    """
    if hint is Any:
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _float(value, key)
    if hint is Path and isinstance(value, str):
        return Path(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal and value in args:
        return value
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        for choice in args:
            if choice is not type(None):
                with suppress(ConfigError):
                    return coerce(value, choice, key)
    if origin is tuple and isinstance(value, list | tuple):
        items = [args[0]] * len(value) if args[1:] == (Ellipsis,) else args
        if len(items) == len(value):
            return tuple(coerce(v, item, key) for v, item in zip(value, items, strict=True))
    if origin is dict and isinstance(value, dict):
        return {
            coerce(k, args[0], f"{key}: a key"): coerce(v, args[1], f"{key}.{k}")
            for k, v in value.items()
        }
    if is_typeddict(hint) and isinstance(value, dict):
        return _coerce_keys(value, hint, key)
    raise ConfigError(f"{key}: expected {describe(hint)}, got {shown(value)}")


def _coerce_keys(value: dict[Any, Any], hint: Any, key: str) -> dict[Any, Any]:
    missing = hint.__required_keys__ - value.keys()
    if missing:
        raise ConfigError(f"{key}: expected {describe(hint)}, got none of {min(missing)!r}")
    known = get_type_hints(hint)
    return value | {
        name: coerce(value[name], known[name], f"{key}: {name}") for name in known if name in value
    }


def shown(value: Any) -> str:
    """`repr` of a value, cut to 80 characters; its type alone if it has no `repr`."""
    try:
        text = " ".join(repr(value).split())
    except (ValueError, RecursionError):  # a number of thousands of digits, a list nested as deep
        return f"a {type(value).__name__} that is too large to show"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _float(value: int, key: str) -> float:
    try:
        return float(value)
    except OverflowError:
        raise ConfigError(f"{key}: expected a number, got one above all floats") from None


def describe(hint: Any) -> str:
    """Describes a type hint in the words of recipes."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "one of " + ", ".join(map(repr, args))
    if origin in (Union, types.UnionType):
        return " or ".join(describe(choice) for choice in args if choice is not type(None))
    if origin is tuple and args[1:] == (Ellipsis,):
        return f"a list, each {describe(args[0])}"
    if origin is tuple:
        return f"a list of {len(args)}: {', '.join(map(describe, args))}"
    if is_typeddict(hint):
        return f"an object with {', '.join(sorted(hint.__required_keys__))}"
    if origin is dict:
        return f"a table, each value {describe(args[1])}"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(hint, getattr(hint, "__name__", str(hint)))


def is_plain(hint: Any) -> bool:
    """Whether TOML and the command line can spell every value of this type."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return True
    if origin in (Union, types.UnionType, tuple):
        return all(arg in (type(None), Ellipsis) or is_plain(arg) for arg in args)
    return hint in (int, float, bool, str, Path)
