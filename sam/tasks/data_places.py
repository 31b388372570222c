"""Where data sets are looked for, and where what is made from them is kept."""

import os
from collections.abc import Sequence
from pathlib import Path

from sam.errors import DataMissingError

_CHECKOUT = Path(__file__).resolve().parents[2]


def find_data(
    what: str, files: Sequence[str], *, path: str | None, variable: str, folder: str
) -> Path:
    """Finds the folder that has all files of a data set.

    Args:
        what: the data set's name, for messages.
        files: names that have to be there.
        path: the folder; when None the environment variable is taken, and when that is not set
            `folder` beside the working directory or beside the checkout.
        variable: name of the environment variable.
        folder: relative path.

    Returns:
        The folder, absolute, since what is read is cached under it.

    Raises:
        DataMissingError: it is not there; the text lists the places searched and what to do.
    """
    given = path if path is not None else os.environ.get(variable)
    places = [Path(given).expanduser()] if given else [Path(folder), _CHECKOUT / folder]
    for place in places:
        if all((place / name).is_file() for name in files):
            return place.resolve()
    looked = ", ".join(dict.fromkeys(str(place.resolve()) for place in places))
    raise DataMissingError(
        f"{what} data: expected {', '.join(files)} in {looked}, found not all of them. Give the "
        f"folder in one of three ways: the task's setting `path` (--task.path FOLDER), the "
        f"environment variable {variable}, or put it at {folder}, seen from the working directory"
    )


def cache_folder() -> Path:
    """Where to keep what takes long to make: ``sparse-access-memory`` in the user's cache folder.

    That is XDG_CACHE_HOME, or ``~/.cache``. The folder may not exist yet.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "sparse-access-memory"
