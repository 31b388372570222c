"""Modules and files of one's own, which register tasks, models or indexes when they are imported.

``--import my_module`` on the command line, or ``import = ["my_module"]`` at the top of a recipe. A
run keeps them in its settings, so that whatever reads it imports them again: a run folder can name
code to run, and one from a stranger must be looked at first.
"""

import importlib
import importlib.util
import sys
import traceback
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sam.errors import ConfigError
from sam.train.coerce import shown

IMPORT = "import"  # the key in a recipe
_SUFFIX = ".py"


def import_parts(names: Iterable[str]) -> tuple[str, ...]:
    """Imports each module, or file ending in ``.py``, once in the life of the process.

    Args:
        names: modules, found from the working directory too; or paths.

    Returns:
        The names, each once; files as absolute paths, so that they are found from elsewhere.

    Raises:
        ConfigError: one is not found, or an error ends its import.
    """
    wanted = dict.fromkeys(map(_absolute, names))
    for name in wanted:
        try:
            _import_file(Path(name)) if name.endswith(_SUFFIX) else _import_module(name)
        except ConfigError:
            raise
        # Whatever code of the user's does when it is imported, ending the process included.
        except (Exception, SystemExit) as error:
            raise ConfigError(f"import {name}: {_told(error)}") from error
    return tuple(wanted)


def check_names(names: Any, source: str) -> tuple[str, ...]:
    """The names under the key ``import`` of a recipe.

    Raises:
        ConfigError: it is no list of text.
    """
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        raise ConfigError(
            f"{source}: {IMPORT}: expected a list of modules and files, got {shown(names)}"
        )
    return tuple(names)


def with_imports(tables: Mapping[str, Any], source: str, names: Iterable[str]) -> dict[str, Any]:
    """The tables of a recipe with further names under the key ``import``, each once.

    Raises:
        ConfigError: what the recipe has there is no list of text.
    """
    all_names = joined(check_names(tables.get(IMPORT, ()), source), names)
    return {**tables, IMPORT: [*all_names]} if all_names else {**tables}


def joined(names: Iterable[str], others: Iterable[str]) -> tuple[str, ...]:
    """Both, each name once."""
    return tuple(dict.fromkeys((*names, *others)))


def beside(names: Sequence[str], folder: Path) -> list[str]:
    """The names of a recipe, whose files lie where the recipe says: relative to its folder."""
    return [str(folder.absolute() / n) if n.endswith(_SUFFIX) else n for n in names]


def taken_from(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The names given by ``--import NAME``, which may stand anywhere, and the other arguments.

    Raises:
        ConfigError: there is no name behind one.
    """
    names: list[str] = []
    others: list[str] = []
    left = iter(arguments)
    for argument in left:
        flag, equals, value = argument.partition("=")
        if flag != "--import":
            others.append(argument)
            continue
        name = value if equals else next(left, "")
        if not name or name.startswith("-"):
            raise ConfigError("--import: expected a module or a file, got none")
        names.append(name)
    return names, others


def _absolute(name: str) -> str:
    return str(Path(name).absolute()) if name.endswith(_SUFFIX) else name


def _import_module(name: str) -> None:
    _look_in(Path.cwd())
    try:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or _there(Path(spec.origin)) is None:
            importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigError(
            f"import: expected a module or a file ending in {_SUFFIX}, got {name!r}, which is not "
            "found"
        ) from error


def _import_file(path: Path) -> ModuleType:
    if (there := _there(path)) is not None:
        return there
    # Two files of one name are two modules.
    name = f"{path.stem}_{zlib.crc32(str(path).encode()):08x}"
    if not path.is_file():
        raise ConfigError(f"import: expected a file, got {path}, which does not exist")
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ConfigError(f"import: expected a file of Python, got {path}")
    module = importlib.util.module_from_spec(spec)
    _look_in(path.parent)
    sys.modules[name] = module  # dataclasses look their own module up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _there(path: Path) -> ModuleType | None:
    """The module that a file has been imported as; imported again, it would register twice."""
    path = path.resolve()
    for module in [*sys.modules.values()]:
        file = getattr(module, "__file__", None)
        if file is not None and Path(file).name == path.name and Path(file).resolve() == path:
            return module
    return None


def _look_in(folder: Path) -> None:
    """Lets modules in a folder be found, after all others."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def _told(error: BaseException) -> str:
    """An error in a line, with the last place in the user's code."""
    if isinstance(error, SyntaxError):  # it names the place itself
        return f"expected it to be imported, got {type(error).__name__}: {error}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"expected it to be imported, got {type(error).__name__}: {error}{place}"
