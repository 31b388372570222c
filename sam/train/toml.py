"""Tables of settings as TOML: read with the standard library, written with tomli-w."""

import tomllib
from pathlib import Path
from typing import Any

from sam.errors import ConfigError
from sam.train.coerce import shown
from sam.train.extras import import_extra
from sam.train.imports import IMPORT, check_names
from sam.train.run_files import read_file

# A table for each section, and perhaps a list of modules under "import".
Tables = dict[str, Any]


def read_toml(path: str | Path) -> Tables:
    """Reads a file whose top level holds tables, and perhaps the list ``import``.

    Args:
        path: the file.

    Returns:
        Table name to its keys and values.

    Raises:
        ConfigError: the file is not TOML, or a key stands outside a table.
        OSError: the file cannot be read.
    """
    content = read_file(path)
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: expected a TOML file, got {error}") from error
    return parse_toml(text, str(path))


def parse_toml(text: str, source: str) -> Tables:
    """As `read_toml`, from text; messages name `source`."""
    try:
        tables = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{source}: expected a TOML file, got one nested too deep") from None
    except ValueError as error:  # for too many digits it is no TOMLDecodeError
        raise ConfigError(f"{source}: expected a TOML file, got {error}") from error
    for key, table in tables.items():
        if key == IMPORT:
            check_names(table, source)
        elif not isinstance(table, dict):
            raise ConfigError(
                f"{source}: expected tables such as [train], got {shown(key)} = {shown(table)}"
            )
    return tables


def to_toml(tables: Tables) -> str:
    """Writes tables of scalars and lists so that `tomllib` reads the same values back.

    A value of None is left out, since TOML has no word for it; None must be the default of its
    key. An empty table inside a table is left out too.

    Args:
        tables: table name to its keys and values.

    Returns:
        The text, ending with a newline. Equal tables give equal text.

    Raises:
        ConfigError: a value has no form in TOML.
        BackendMissingError: tomli-w is not installed.
    """
    return import_extra("tomli_w").dumps(_plain("", tables))


def _plain(key: str, value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, dict):
        prefix = f"{key}." if key else ""
        given = {k: v for k, v in value.items() if v is not None and (not key or v != {})}
        return {k: _plain(f"{prefix}{k}", v) for k, v in given.items()}
    if isinstance(value, list | tuple):
        return [_plain(key, item) for item in value]
    if isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"{key}: expected a number, text, bool or list of them, got {value!r}")
