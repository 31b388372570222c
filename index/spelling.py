"""An `IndexConfig` as one word of a command line: ``ivf``, ``lsh[tables=16,probes=8]``."""

import re
from dataclasses import fields

from index.config import IndexConfig
from index.errors import unknown_name
from index.registry import as_index_config

# A FAISS factory string may have commas, colons and brackets, but no "=" within brackets.
_PATTERN = re.compile(r"(?P<kind>[^=]*?)(?:\[(?P<options>[^\[\]]*=[^\[\]]*)\])?")
_TRUTH = {"1": True, "true": True, "0": False, "false": False}


def parse_index(text: str) -> IndexConfig:
    """Reads the one-word form of a configuration.

    Args:
        text: a kind, then, if there are any, options in brackets: ``KEY=VALUE,KEY=VALUE``, where
            the keys are the fields of `IndexConfig`. ``faiss:IVF256,Flat[probes=4]`` has the kind
            ``faiss:IVF256,Flat``.

    Returns:
        The configuration.

    Raises:
        ValueError: the text is not of that form, or a value is not one for its key.
        UnknownNameError: no such index is registered, or no such option exists.
    """
    found = _PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(f"index: expected KIND or KIND[KEY=VALUE,...], got {text!r}")
    options = {}
    for setting in (found["options"] or "").split(",") if found["options"] else ():
        key, equals, value = (part.strip() for part in setting.partition("="))
        if key not in _OPTIONS:
            raise unknown_name("index option", key, _OPTIONS)
        if not equals or not value:
            raise ValueError(f"index: expected {key}=VALUE in {text!r}, got {setting!r}")
        if key in options:
            raise ValueError(f"index: expected {key} once, got it twice in {text!r}")
        try:
            options[key] = _PARSERS.get(key, int)(value)
        except ValueError:
            expected = "true or false" if key == "compiled" else "a number"
            raise ValueError(f"index: expected {expected} for {key}, got {value!r}") from None
    return as_index_config(IndexConfig(kind=found["kind"], **options))


def _truth(text: str) -> bool:
    if text.lower() not in _TRUTH:
        raise ValueError(text)
    return _TRUTH[text.lower()]


_PARSERS = {"metric": str, "refresh_after": float, "compiled": _truth}
_OPTIONS = tuple(field.name for field in fields(IndexConfig) if field.name != "kind")


def spell_index(config: IndexConfig) -> str:
    """Writes a configuration as one word, as `parse_index` reads it; defaults are left out."""
    given = [
        f"{field.name}={getattr(config, field.name)}"
        for field in fields(IndexConfig)
        if field.name != "kind" and getattr(config, field.name) != field.default
    ]
    return f"{config.kind}[{','.join(given)}]" if given else config.kind
