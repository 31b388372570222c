"""Settings given on a command line, laid over those of a recipe."""

import contextlib
import dataclasses
import io
import os
import re
import shutil
from collections.abc import Iterator
from typing import Any

from sam.errors import ConfigError
from sam.train.coerce import unknown_key
from sam.train.extras import import_extra
from sam.train.settings import SECTIONS
from sam.train.train_config import RunConfig

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_SECTION = re.compile(r"^Error parsing \w+: ")
_NARROWEST = 40  # columns
_BOOLS = {"true": True, "false": False}


def override(config: RunConfig, arguments: list[str], *, prog: str) -> RunConfig:
    """Applies ``--section.key value`` arguments.

    Args:
        config: the settings so far; their classes say what there is to override.
        arguments: for example ``["--train.seed", "3", "--curriculum.enabled"]``. ``--index NAME``
            stands for ``--index.kind NAME``.
        prog: name of the program, for the help text.

    Returns:
        New settings.

    Raises:
        ConfigError: an argument is unknown (the closest known one is named), or its value is of
            the wrong type or refused.
        BackendMissingError: tyro is not installed.
        SystemExit: with code 0, after printing the help that ``--help`` asks for.
    """
    tyro: Any = import_extra("tyro")
    sections = {name: value for name in SECTIONS if (value := getattr(config, name)) is not None}
    arguments = _normal(arguments, sections)
    settings = dataclasses.make_dataclass(
        "Settings", [(name, type(value)) for name, value in sections.items()], frozen=True
    )
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), _wide_enough():
            parsed = tyro.cli(settings, prog=prog, args=arguments, default=settings(**sections))
    except SystemExit as exit:
        if exit.code in (0, None):
            raise
        raise ConfigError(_message(errors.getvalue())) from None
    return dataclasses.replace(config, **{name: getattr(parsed, name) for name in sections})


@contextlib.contextmanager
def _wide_enough() -> Iterator[None]:
    """Lets tyro, which never ends with a few columns, think that there are some more."""
    if shutil.get_terminal_size().columns >= _NARROWEST:
        yield
        return
    before = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = str(_NARROWEST)
    try:
        yield
    finally:
        if before is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = before


def given_value(arguments: list[str], flag: str) -> str | None:
    """The last value given to a flag, as ``--flag value`` or ``--flag=value``, or None."""
    found = None
    for position, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name != flag:
            continue
        if not equals and position + 1 == len(arguments):
            raise ConfigError(f"{flag}: expected a value, got none")
        found = value if equals else arguments[position + 1]
    return found


def _normal(arguments: list[str], sections: dict[str, Any]) -> list[str]:
    """Checks the names of all flags and spells them as tyro does."""
    fields = {
        f"{section}.{field.name}": type(getattr(value, field.name)) is bool
        for section, value in sections.items()
        for field in dataclasses.fields(value)
        if field.init
    }
    normal: list[str] = []
    position = 0
    while position < len(arguments):
        name, equals, value = arguments[position].partition("=")
        position += 1
        if not name.startswith("--") or name == "--help":
            normal.append(arguments[position - 1])
            continue
        name = name.removeprefix("--").replace("-", "_")
        name = "index.kind" if name == "index" and "index" in sections else name
        positive = name.replace(".no_", ".", 1)
        if name not in fields and not fields.get(positive, False):
            known = [field.replace("_", "-") for field in fields]
            raise _unknown(name.replace("_", "-"), known)
        if fields.get(name):
            # tyro takes a bool as --flag or --no-flag; everything else is --flag value.
            following = arguments[position] if position < len(arguments) else ""
            word = (value if equals else following).lower()
            if equals and word not in _BOOLS:
                raise ConfigError(f"--{name}: expected true or false, got {value!r}")
            if word in _BOOLS:
                position += not equals
                section, _, key = name.partition(".")
                name = name if _BOOLS[word] else f"{section}.no_{key}"
            equals = value = ""
        normal.append(f"--{name.replace('_', '-')}{equals}{value}")
    return normal


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


def _message(printed: str) -> str:
    """The sentence in the box that tyro draws around an error, in colour or in plain ASCII."""
    blocks: list[list[str]] = [[]]
    for line in _COLOUR.sub("", printed).splitlines():
        text = line.strip("│╭╮╰╯ ")
        if text and not text.strip("─-"):
            blocks.append([])
        # In a drawn box the title stands in the upper border, in ASCII above the first rule.
        elif text and not line.startswith(("╭", "╰")):
            blocks[-1].append(text)
    sentences = [" ".join(block) for block in blocks]
    first = 0 if "╭" in printed else 1
    message = sentences[first] if len(sentences) > first else ""
    # What a settings class refused names its own key.
    return _SECTION.sub("", message) or "the arguments cannot be read"
