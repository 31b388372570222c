"""Settings of the command line, which override those of a recipe."""

import dataclasses
import os
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, get_origin, get_type_hints

from sam.errors import ConfigError
from sam.train.coerce import is_plain, unknown_key
from sam.train.extras import import_extra
from sam.train.settings import SECTIONS, with_base
from sam.train.train_config import RunConfig

_NARROWEST = 40  # columns
_BOOLS = {"true": True, "false": False}


def override(config: RunConfig, arguments: list[str], *, prog: str) -> RunConfig:
    """Applies ``--section.key value`` arguments.

    Args:
        config: the settings so far; their classes say what there is to override.
        arguments: for example ``["--train.seed", "3", "--curriculum.enabled"]``. ``--index NAME``
            stands for ``--index.kind NAME``, ``--base PATH`` for that of the model and, if
            it has one, of the task. Of a setting given twice the last value counts.
        prog: name of the program, for the help text.

    Returns:
        New settings.

    Raises:
        ConfigError: an argument is unknown (the closest known one is named), or its value is of
            the wrong type or refused.
        BackendMissingError: tyro is not installed.
        SystemExit: with code 0, after printing the help that ``--help`` asks for.
    """
    sections = {name: value for name in SECTIONS if (value := getattr(config, name)) is not None}
    if {"-h", "--help"} & {*arguments}:
        _print_help(sections, prog)
    hints = {
        f"{section}.{field.name}": hint
        for section, value in sections.items()
        for field in dataclasses.fields(value)
        if field.init and _is_settable(hint := get_type_hints(type(value))[field.name])
    }
    given: dict[str, dict[str, Any]] = {}
    for flag, words in _flags(arguments):
        name = flag.replace("-", "_")
        if name == "base":
            if len(words) != 1:
                raise ConfigError(f"--base: expected the folder of a base, got {words}")
            over = with_base(config, words[0])
            for section in ("model", "task"):
                if hasattr(getattr(over, section), "base"):
                    given.setdefault(section, {})["base"] = words[0]
            continue
        name = "index.kind" if name == "index" and "index" in sections else name
        positive = name.replace(".no_", ".", 1)
        if name not in hints and hints.get(positive) is bool and not words:
            name, words = positive, ["false"]
        if name not in hints:
            raise _unknown(flag.replace("_", "-"), [known.replace("_", "-") for known in hints])
        section, _, key = name.partition(".")
        given.setdefault(section, {})[key] = _parsed(flag, hints[name], words)
    changed = {name: dataclasses.replace(sections[name], **keys) for name, keys in given.items()}
    return dataclasses.replace(config, **changed)


def _is_settable(hint: Any) -> bool:
    """Whether the command line can spell a value of this type."""
    return is_plain(hint) or get_origin(hint) is dict


def _print_help(sections: dict[str, Any], prog: str) -> None:
    """Prints what there is to override, and ends the process."""
    tyro: Any = import_extra("tyro")
    settings = dataclasses.make_dataclass(
        "Settings", [(name, type(value)) for name, value in sections.items()], frozen=True
    )
    columns = os.environ.get("COLUMNS")
    # With fewer columns tyro never returns.
    os.environ["COLUMNS"] = str(max(shutil.get_terminal_size().columns, _NARROWEST))
    try:
        tyro.cli(settings, prog=prog, args=["--help"], default=settings(**sections))
    finally:
        del os.environ["COLUMNS"]
        os.environ |= {} if columns is None else {"COLUMNS": columns}


def given_value(arguments: list[str], flag: str) -> str | None:
    """The last value given to a flag, as ``--flag value`` or ``--flag=value``, or None."""
    words = dict(_flags(arguments)).get(flag.removeprefix("--"))
    if words == []:
        raise ConfigError(f"{flag}: expected a value, got none")
    return words[0] if words else None


def _flags(arguments: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Each flag, without its dashes, with the words that follow it or its equals sign."""
    found: list[tuple[str, list[str]]] = []
    for argument in arguments:
        if argument.startswith("--") or argument == "-h":
            name, equals, value = argument.removeprefix("--").partition("=")
            found.append((name, [value] if equals else []))
        elif found:
            found[-1][1].append(argument)
        else:
            raise _stray([argument])
    return found


def _parsed(flag: str, hint: Any, words: list[str]) -> Any:
    """The value that the words after a flag spell.

    Raises:
        ConfigError: they are too few, too many, or spell no value of this type.
        BackendMissingError: tyro is not installed.
    """
    flag = f"--{flag.replace('_', '-')}"
    if hint is bool:
        if len(words) > 1:
            raise _stray(words[1:])
        word = words[0] if words else "true"
        if word.lower() not in _BOOLS:
            raise ConfigError(f"{flag}: expected true or false, got {word!r}")
        return _BOOLS[word.lower()]
    types: Any = import_extra("tyro.constructors")
    spec = types.ConstructorRegistry.get_primitive_spec(types.PrimitiveTypeInfo.make(hint, set()))
    if isinstance(spec.nargs, int):
        if len(words) < spec.nargs:
            raise ConfigError(f"Missing value for argument '{flag}'. Expected {spec.nargs} values.")
        if len(words) > spec.nargs:
            raise _stray(words[spec.nargs :])
    wrong = [word for word in words if spec.choices and word not in spec.choices]
    if wrong:
        raise ConfigError(
            f"invalid choice {wrong[0]!r} for argument '{flag}'. Expected one of {spec.choices}."
        )
    try:
        return spec.instance_from_str(words)
    except ValueError as error:
        raise ConfigError(f"Error parsing {flag}: {' '.join(str(error).split())}") from None


def _stray(words: Sequence[str]) -> ConfigError:
    return ConfigError(f"Unrecognized options: {' '.join(words)}")


def _unknown(name: str, known: list[str]) -> ConfigError:
    """Names the keys of the flag's section when there is such a section, else the sections."""
    section = name.partition(".")[0]
    of_section = [flag for flag in known if flag.startswith(f"{section}.")]
    candidates = of_section or known
    error = unknown_key("", name, candidates, "")
    hint = str(error).partition("; ")[2]
    listed = of_section or sorted({f"{flag.partition('.')[0]}.*" for flag in known})
    text = f"--{name}: unknown option, expected one of --{', --'.join(listed)}"
    return ConfigError(f"{text}; {hint.replace(chr(39), chr(39) + '--', 1)}" if hint else text)
