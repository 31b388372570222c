"""Tables in Markdown: columns as data, and one function that renders them."""

import functools
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple


class Column(NamedTuple):
    """The title of a column, and what it shows of an entry."""

    title: str
    cell: Callable[[Any], str]


def field(title: str, path: str, form: str = "{}", *, scale: float = 1) -> Column:
    """A column that shows one value of each entry; empty where the entry has none, or None.

    Args:
        title: of the column.
        path: keys of nested mappings, joined by dots, such as ``"to_lstm.median"``.
        form: format string of the value.
        scale: what a number is multiplied by.
    """

    def cell(entry: Any) -> str:
        value = _value(entry, path)
        if value is None:
            return ""
        return form.format(value if scale == 1 else scale * value)

    return Column(title, cell)


def spread_field(title: str, path: str, form: str, *, scale: float = 1) -> Column:
    """A column that shows a `harness.Spread` of each entry as "median (low to high)"."""
    return Column(title, lambda entry: spread_text(_value(entry, path), form, scale=scale))


def keyed(titles: Mapping[Any, str], cell: Callable[[Any], str]) -> list[Column]:
    """A column for each key, where an entry maps keys to things that `cell` shows."""

    def of_key(key: Any, entry: Mapping[Any, Any]) -> str:
        return cell(entry[key]) if key in entry else ""

    return [Column(title, functools.partial(of_key, key)) for key, title in titles.items()]


def table(columns: Sequence[Column], entries: Iterable[Any]) -> str:
    """A table with a row for each entry."""
    rows = [[column.cell(entry) for column in columns] for entry in entries]
    lines = ["| " + " | ".join(row) + " |" for row in ([c.title for c in columns], *rows)]
    return "\n".join([lines[0], "|" + "---|" * len(columns), *lines[1:]])


def read_all(results: Path, pattern: str) -> list[dict[str, Any]]:
    """What all files of the folder of results say whose names match, in the order of the names."""
    return [json.loads(path.read_text()) for path in sorted(results.glob(pattern))]


def of_file(
    name: str, command: str
) -> Callable[[Callable[[dict[str, Any]], str]], Callable[[Path], str]]:
    """Makes a table of one file of results a function of the folder of results.

    Args:
        name: of the JSON file whose content the decorated function shows.
        command: module that writes the file. It stands in place of the table without a file.
    """

    def decorate(make: Callable[[dict[str, Any]], str]) -> Callable[[Path], str]:
        @functools.wraps(make)
        def of_folder(results: Path) -> str:
            path = results / name
            return make(json.loads(path.read_text())) if path.exists() else missing(command)

        return of_folder

    return decorate


def measured_on(result: dict[str, Any]) -> str:
    """Where and when a result was measured, as a sentence."""
    machine = result["machine"]
    threads = f"{result['threads']} thread" + ("s" if result["threads"] > 1 else "")
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
        f"{threads}, torch {result['versions']['torch']}, {result['date']}."
    )


def measured_each(results: Iterable[dict[str, Any]], name: Callable[[dict[str, Any]], str]) -> str:
    """Where and when results were measured; of several places or days also which were where."""
    found: dict[str, dict[str, None]] = {}
    for result in results:
        found.setdefault(measured_on(result), {})[name(result)] = None
    if len(found) == 1:
        return next(iter(found))
    return " ".join(f"{', '.join(names)}: {text}" for text, names in found.items())


def measured_elsewhere(
    result: dict[str, Any], records: list[dict[str, Any]], name: Callable[[dict[str, Any]], str]
) -> str:
    """Sentences on records of another machine or day, see `benchmarks.harness.marked`."""
    here = [result["machine"]["processor"], result["date"]]
    others: dict[tuple[str, ...], list[str]] = {}
    for record in records:
        if (measured := record.get("measured", here)) != here:
            others.setdefault(tuple(measured), []).append(name(record))
    return "".join(f" On {', '.join(at)}: {', '.join(names)}." for at, names in others.items())


def missing(command: str) -> str:
    """What stands in place of a table without results."""
    return f"Not measured yet: `python -m {command}`."


def with_range(values: Sequence[float], form: str) -> str:
    """Median and range, "median (low to high)"; a single value alone."""
    if len(values) == 1:
        return form.format(values[0])
    return spread_text({"median": median(values), "low": min(values), "high": max(values)}, form)


def spread_text(spread: Mapping[str, float], form: str, *, scale: float = 1) -> str:
    """A `harness.Spread` from a file of results as "median (low to high)"."""
    middle, low, high = (form.format(scale * spread[key]) for key in ("median", "low", "high"))
    return f"{middle} ({low} to {high})"


def power(size: int) -> str:
    """2^20 and the like; other numbers in full."""
    exponent = size.bit_length() - 1
    return f"2^{exponent}" if size == 2**exponent else f"{size:,}"


def _value(entry: Any, path: str) -> Any:
    for key in path.split("."):
        if entry is None:
            return None
        entry = entry.get(key)
    return entry
