"""Pieces of tables that more than one table is made of."""

from collections.abc import Sequence
from statistics import median
from typing import Any


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A table; the first row is its head."""
    head, *body = ("| " + " | ".join(row) + " |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def measured_on(result: dict[str, Any]) -> str:
    """Where and when a result was measured, as a sentence."""
    machine = result["machine"]
    threads = f"{result['threads']} thread" + ("s" if result["threads"] > 1 else "")
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{threads}, torch {result['versions']['torch']}, {result['date']}."
    )


def missing(command: str) -> str:
    """What stands in place of a table without results."""
    return f"Not measured yet: `python -m {command}`."


def with_range(values: Sequence[float], form: str) -> str:
    """Median and range, "middle (low to high)"; a single value alone."""
    middle, low, high = (form.format(v) for v in (median(values), min(values), max(values)))
    return middle if len(values) == 1 else f"{middle} ({low} to {high})"
