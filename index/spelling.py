"""An `IndexConfig` as one word of a command line: ``ivf``, ``lsh[tables=16,probes=8]``."""

import re
from dataclasses import fields

from index.config import IndexConfig
from index.errors import unknown_name
from index.registry import as_index_config, index_class

# A FAISS factory string may have commas, colons and brackets, but no "=" within brackets.
_PATTERN = re.compile(r"(?P<kind>[^=]*?)(?:\[(?P<options>[^\[\]]*=[^\[\]]*)\])?")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}
_NAMES = {bool: "true or false", str: "text"}
# The fields of IndexConfig, and the types of their values.
_TYPES = {
    "metric": str,
    "storage": str,
    "refresh_after": float,
    "norm_eps": float,
    "compiled": bool,
    "copies": bool,
}
_FIELDS = {
    field.name: _TYPES.get(field.name, int)
    for field in fields(IndexConfig)
    if field.name not in ("kind", "options")
}


def parse_index(text: str) -> IndexConfig:
    """Reads the one-word form of a configuration.

    Args:
        text: a kind, then, if there are any, options in brackets: ``KEY=VALUE,KEY=VALUE``, where
            the keys are the fields of `IndexConfig` and the options of the backend's own.
            ``faiss:IVF256,Flat[probes=4]`` has the kind ``faiss:IVF256,Flat``.

    Returns:
        The configuration.

    Raises:
        ValueError: the text is not of that form, or a value is not one for its key.
        UnknownNameError: no such index is registered, or no such option exists.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"index: expected KIND or KIND[KEY=VALUE,...], got {text!r}")
    kind, given = found["kind"], found["options"]
    own = _own_types(kind) if given else {}
    types, values = _FIELDS | own, {}
    for setting in given.split(",") if given else ():
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in types:
            raise unknown_name("index option", key, types)
        if not equals or not value:
            raise ValueError(f"index: expected {key}=VALUE in {text!r}, got {setting!r}")
        if key in values:
            raise ValueError(f"index: expected {key} once, got it twice in {text!r}")
        try:
            values[key] = _TRUTH[value.lower()] if types[key] is bool else types[key](value)
        except (ValueError, KeyError):
            expected = _NAMES.get(types[key], "a number")
            raise ValueError(f"index: expected {expected} for {key}, got {value!r}") from None
    options = {key: values.pop(key) for key in own if key in values}
    return as_index_config(IndexConfig(kind=kind, options=options, **values))


def _own_types(kind: str) -> dict[str, type]:
    """The options of a backend's own, and the types of their values."""
    cls = index_class(kind).options_class
    types = {one.name: type(one.default) for one in fields(cls)} if cls is not None else {}
    return {name: kind if kind in (bool, int, float) else str for name, kind in types.items()}


def spell_index(config: IndexConfig) -> str:
    """Writes a configuration as one word, as `parse_index` reads it; defaults are left out."""
    default = IndexConfig(kind=config.kind)
    given = {
        name: value
        for name in _FIELDS
        if (value := getattr(config, name)) != getattr(default, name)
    }
    words = [f"{name}={value}" for name, value in (given | config.options).items()]
    return f"{config.kind}[{','.join(words)}]" if words else config.kind
