"""Which of an evaluation's results are those of its levels."""

from collections.abc import Sequence
from typing import Any


def by_level(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The results by the first thing that a task groups them by.

    Some tasks tell the same sequences by two things: repeat copy by length, which is its level, and
    by repeats. Their values may be equal, and are not to be mixed.
    """
    return [entry for entry in entries if entry["name"] == entries[0]["name"]]
