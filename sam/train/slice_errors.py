"""Slices of an evaluation: their names, and their error in the unit it has in training."""

from collections.abc import Mapping, Sequence
from typing import Any


def slice_error(one: Mapping[str, Any], kind: str) -> float:
    """The error of a slice.

    Args:
        one: the fields of a `SliceResult`, by name.
        kind: of the task.
    """
    if kind == "bits":
        return one["wrong"]
    if kind == "tokens":
        return one["loss"]
    wrong = max(1 - one["accuracy"], 0.0)  # a fraction of 1 may be rounded to a little more
    return wrong**0.5 if kind == "values" else wrong


def slice_name(task: Any, name: str, value: int) -> str:
    """What a slice's value is called: by the task's `slice_names`, else the number itself.

    A task may have the attribute `slice_names`: by the name of a slice, the names of 0, 1, ...
    """
    if name == "all":
        return name
    names = getattr(task, "slice_names", {}).get(name, ())
    return names[value] if 0 <= value < len(names) else str(value)


def mean_error(slices: Sequence[Mapping[str, Any]], kind: str) -> float | None:
    """Mean error over the sequences of all slices; None without any."""
    count = sum(one["sequences"] for one in slices)
    return (
        sum(slice_error(one, kind) * one["sequences"] for one in slices) / count if count else None
    )
