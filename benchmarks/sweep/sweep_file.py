"""The file of the sweep's results: part by part, so that each can be measured anew.

    {"parts": {NAME: RECORD}, "unfinished": {NAME: RECORD}}

A record says how it came to be (`harness.circumstances`) and holds `entries`, one for each model,
size and way of running. A part that was broken off stands under "unfinished" with all that it had
measured, and what it had measured before stays as it was.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from benchmarks.harness import write_json

FILE = "memory_sweep.json"
_COMMAND = "python -m benchmarks.memory_sweep"
_ORIGIN = ("command", "date", "machine", "threads", "versions", "plan")
_TIMED = ("rounds", "entries")
# What the tables and the figure ask for, by part.
_KEYS: dict[str, tuple[str, ...]] = {
    "fresh": (*_TIMED, "flat"),
    "dense": (*_TIMED, "stopped"),
    "lengths": _TIMED,
    "threads": _TIMED,
    "bytes": ("fresh_state_bytes", "peaks"),
    "pair": ("memory_size", "steps", "faster", "peak_bytes", "smaller", "paper"),
    "full": (*_TIMED, "stopped"),
}
_ENTRY = ("model", "memory_size", "path", "index", "full", "steps", "batch_size")
_PHASES = ("forward", "backward", "total")


class ResultsError(ValueError):
    """A file of results is missing, damaged, or does not hold what is asked for."""


class Sweep:
    """What a file of results holds; each part is checked when it is asked for.

    Args:
        folder: where the file lies.

    Raises:
        ResultsError: there is no such file, or it is not one of this benchmark.
    """

    def __init__(self, folder: Path) -> None:
        content = _content(folder / FILE)
        if content is None:
            raise ResultsError(f"{FILE}: expected the results of `{_COMMAND}`, found no such file")
        self.names = tuple(content["parts"])
        self._parts = content["parts"]

    def part(self, name: str) -> dict[str, Any]:
        """The record of a part.

        Raises:
            ResultsError: the part was not measured to its end, or lacks something.
        """
        if name not in self._parts:
            raise _wrong(name, f"expected it to be measured, got {', '.join(self.names) or 'none'}")
        record = self._parts[name]
        _check(name, record, (*_ORIGIN, *_KEYS[name]), "")
        if "entries" in _KEYS[name]:
            if not record["entries"]:
                raise _wrong(name, "expected entries, got none")
            for number, entry in enumerate(record["entries"]):
                _check_entry(name, entry, f"entry {number}, ")
        return record

    def entries(self, name: str, **wanted: Any) -> Iterator[dict[str, Any]]:
        """The entries of a part that have the wanted values, such as ``model="sam"``."""
        for entry in self.part(name)["entries"]:
            if all(entry[key] == value for key, value in wanted.items()):
                yield entry


def write_part(folder: Path, name: str, record: Mapping[str, Any], *, finished: bool) -> None:
    """Puts a part into the file; the other parts stay as they are.

    Raises:
        ResultsError: there is a file, but not one of this benchmark.
    """
    content = _content(folder / FILE) or {"parts": {}, "unfinished": {}}
    content["unfinished"].pop(name, None)
    content["parts" if finished else "unfinished"][name] = record
    write_json(folder / FILE, content)


def _content(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ResultsError(
            f"{path.name}: expected JSON, {error}; remove it, `{_COMMAND}`"
        ) from None
    sections = ("parts", "unfinished")
    if not isinstance(content, dict) or not all(
        isinstance(content.get(section), dict) for section in sections
    ):
        got = ", ".join(content) if isinstance(content, dict) else type(content).__name__
        raise ResultsError(
            f"{path.name}: expected the sections {' and '.join(sections)}, got {got}; "
            f"remove it, `{_COMMAND}`"
        )
    return content


def _check_entry(part: str, entry: Any, where: str) -> None:
    _check(part, entry, _ENTRY, where)
    _check(part, entry, ("seconds_per_step",), where)
    _check(part, entry["seconds_per_step"], _PHASES, f"{where}seconds_per_step, ")
    for phase in _PHASES:
        value = entry["seconds_per_step"][phase]
        _check(part, value, ("median", "low", "high"), f"{where}{phase}, ")
        if not all(isinstance(number, int | float) for number in value.values()):
            raise _wrong(part, f"{where}{phase}: expected numbers, got {value}")
    if entry["memory_size"] is not None:
        _check(part, entry, ("to_lstm",), where)


def _check(part: str, value: Any, keys: tuple[str, ...], where: str) -> None:
    if not isinstance(value, dict):
        raise _wrong(part, f"{where}expected an object, got {type(value).__name__}")
    missing = [key for key in keys if key not in value]
    if missing:
        raise _wrong(part, f"{where}expected {', '.join(missing)}, got {', '.join(value)}")


def _wrong(part: str, text: str) -> ResultsError:
    return ResultsError(f"{FILE}: part {part!r}: {text}; `{_COMMAND} --only {part}`")
