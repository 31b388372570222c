"""Errors this package raises for wrong input; each derives from the builtin one would expect."""

import difflib
from collections.abc import Iterable


class ShapeError(ValueError):
    """A tensor's shape, dtype or device disagrees with what the call documents."""


class NonFiniteError(ValueError):
    """A tensor that must be finite holds NaN or infinity."""


class UnknownNameError(ValueError):
    """A name is not in the registry it was looked up in."""


class FileFormatError(ValueError):
    """A file is damaged or cut short, of another kind or a newer version, or does not fit."""


class BackendMissingError(ImportError):
    """An optional package is not installed; the text ends with the pip line that installs it."""


class RanksError(ConnectionError):
    """Processes that search a base together have ended, hang, or do not ask in step."""


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """Builds the error for a failed look-up: the known names, the closest one first.

    Args:
        kind: what was looked up, for example ``"index"``.
        name: the name that was given.
        known: the registered names.

    Returns:
        The error to raise.
    """
    names = sorted(known)
    if not names:
        return UnknownNameError(f"{kind}: expected none, got {name!r}")
    closest = closest_names(name, names)
    ordered = closest + [n for n in names if n not in closest]
    hint = f"; did you mean {closest[0]!r}?" if closest else ""
    return UnknownNameError(f"{kind}: expected one of {', '.join(ordered)}, got {name!r}{hint}")


def closest_names(name: object, known: Iterable[str], cutoff: float = 0.4) -> list[str]:
    """The known name that is most like `name`, as a list of one, or of none."""
    return difflib.get_close_matches(str(name), sorted(known), n=1, cutoff=cutoff)
