"""Parts that other installed packages bring, by their entry points.

A package names them in its pyproject.toml::

    [project.entry-points."sparse_access_memory.models"]
    pocket = "my_package.models:Pocket"

Nothing of it is imported before its name is asked for.
"""

from importlib.metadata import entry_points
from typing import Any

from index.errors import BackendMissingError

_GROUP = "sparse_access_memory."


def plugin_names(kind: str) -> tuple[str, ...]:
    """Names of what installed packages bring of a kind: `tasks`, `models` or `indexes`."""
    return tuple(sorted({entry.name for entry in entry_points(group=_GROUP + kind)}))


def load_plugin(kind: str, name: str) -> Any:
    """What an installed package brings under this name; None if none does.

    Raises:
        BackendMissingError: it cannot be imported; package and entry point are named.
    """
    found = next(iter(entry_points(group=_GROUP + kind, name=name)), None)
    if found is None:
        return None
    try:
        return found.load()
    except Exception as error:  # whatever the other package does when it is imported
        package = "" if found.dist is None else f" of {found.dist.name}"
        raise BackendMissingError(
            f"{kind} {name!r}: expected the entry point {found.value!r}{package} to load, got "
            f"{type(error).__name__}: {error}"
        ) from error
