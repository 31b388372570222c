"""The grid of a sweep: ``--grid model.memory-size=1024,65536`` times ``--grid index=exact,lsh``.

Each combination of values is a cell, and each cell is a run per seed. A cell's settings are those
that ``train`` would be given on its command line.
"""

import itertools
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from index.spelling import parse_index
from sam.errors import ConfigError

KIND, INDEX, SEED = "model.kind", "index.kind", "train.seed"
_PARTS = re.compile(r",(?![^\[]*\])")  # a comma that is not within brackets
_SAFE = re.compile(r"[^A-Za-z0-9.+-]+")


@dataclass(frozen=True, slots=True)
class Cell:
    """A combination of values.

    Attributes:
        settings: key of the grid to value, as typed; without the keys that its model has not.
        name: of its runs, before the seed; fit for a folder.
    """

    settings: Mapping[str, str]
    name: str

    @property
    def arguments(self) -> list[str]:
        """What ``train`` is given for it."""
        found = []
        for key, value in self.settings.items():
            found += index_arguments(value) if key == INDEX else [_flag(key), *value.split()]
        return found


def parse_grid(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Reads the arguments of ``--grid``.

    Args:
        texts: each ``KEY=VALUE,VALUE,...``, or with semicolons where a value has a comma of its
            own. ``index`` stands for ``index.kind``, and takes options in brackets.

    Returns:
        Values by key, in the order given; keys with underscores.

    Raises:
        ConfigError: not of that form, a key or a value given twice, or the seed as a key.
        ValueError: an index that does not exist, or an option of it.
    """
    grid: dict[str, tuple[str, ...]] = {}
    for text in texts:
        name, equals, listed = text.removeprefix("--").partition("=")
        key = name.strip().replace("-", "_")
        key = INDEX if key == "index" else key
        values = [part.strip() for part in _split(listed)]
        if not equals or "." not in key or not all(values):
            raise ConfigError(f"--grid: expected section.key=VALUE,VALUE,..., got {text!r}")
        if key in grid:
            raise ConfigError(f"--grid: expected {name.strip()} once, got it twice")
        if key == SEED:
            raise ConfigError("--grid: expected no train.seed, --seeds says how many there are")
        twice = [value for value in values if values.count(value) > 1]
        if twice:
            raise ConfigError(f"--grid {name.strip()}: expected {twice[0]} once, got it twice")
        if key == INDEX:
            for value in values:
                parse_index(value)
        grid[key] = tuple(values)
    return grid


def make_cells(
    grid: Mapping[str, Sequence[str]], known: Mapping[str, Iterable[str]], kind: str
) -> tuple[list[Cell], list[str]]:
    """All combinations, each once.

    Args:
        grid: values by key.
        known: by kind of model, the keys of its settings and of its index.
        kind: of the models where the grid does not name it.

    Returns:
        The cells in the order of the grid, and a line about each key that a model has not: its
        cells are there once, without the key.

    Raises:
        ConfigError: no model of the grid has a setting of a key.
    """
    kinds = grid.get(KIND, (kind,))
    missing = {
        one: [key for key in grid if _is_of_model(key) and key not in {*known[one]}]
        for one in kinds
    }
    for key in grid:
        if all(key in missing[one] for one in kinds):
            raise ConfigError(f"--grid {_shown(key)}: expected a setting of {_either(kinds)}")
    names = _short_names(grid)
    cells: dict[str, Cell] = {}
    for values in itertools.product(*grid.values()):
        settings = dict(zip(grid, values, strict=True))
        without = missing[settings.get(KIND, kind)]
        settings = {key: value for key, value in settings.items() if key not in without}
        name = "_".join(f"{names[key]}-{_safe(value)}" for key, value in settings.items())
        cells.setdefault(name, Cell(settings, name or "base"))
    warnings = [
        f"{one} has no {_shown(key)}: run once without it"
        for one, keys in missing.items()
        for key in keys
    ]
    return [*cells.values()], warnings


def index_arguments(text: str) -> list[str]:
    """The one-word form of an index as arguments of ``train``."""
    config = parse_index(text)
    found = ["--index.kind", config.kind]
    shared = ("metric", "norm_eps", "seed", *config.given())
    default = type(config)(kind=config.kind)
    for name in shared:
        if (value := getattr(config, name)) != getattr(default, name):
            found += [_flag(f"index.{name}"), str(value)]
    if config.options:
        found += ["--index.options", *(str(x) for item in config.options.items() for x in item)]
    return found


def _split(listed: str) -> list[str]:
    return listed.split(";") if ";" in listed else _PARTS.split(listed)


def _is_of_model(key: str) -> bool:
    return key != KIND and key.partition(".")[0] in ("model", "index")


def _flag(key: str) -> str:
    return f"--{_shown(key)}"


def _shown(key: str) -> str:
    return key.replace("_", "-")


def _either(kinds: Sequence[str]) -> str:
    return kinds[0] if len(kinds) == 1 else f"one of {', '.join(kinds)}, got one of none of them"


def _short_names(keys: Iterable[str]) -> dict[str, str]:
    """The last part of each key where it says all, else the whole key."""
    keys = [*keys]
    last = {key: ("index" if key == INDEX else _shown(key).rpartition(".")[2]) for key in keys}
    return {k: v if [*last.values()].count(v) == 1 else _shown(k) for k, v in last.items()}


def _safe(value: str) -> str:
    """A value as part of a name of a folder; different values have different names."""
    safe = _SAFE.sub("_", value)
    return safe if safe == value else f"{safe.strip('_')}.{zlib.crc32(value.encode()):08x}"
