"""Files of results that grow record by record, so that a run that is cut keeps what it has."""

import contextlib
import json
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.harness import circumstances, write_json

_RIVALS = ("hnswlib", "usearch")


class Records:
    """The records of one file, each with a key; a new one takes the place of one with its key.

    Args:
        path: of the JSON file, which need not exist.
        module: the script that writes it.
        arguments: what was typed after it.
        keys: the names of the values that are a record's key.

    Raises:
        ValueError: the file is not one of records.
    """

    def __init__(
        self, path: Path, module: str, arguments: Sequence[str], keys: Sequence[str]
    ) -> None:
        self.path, self._module, self._arguments = path, module, arguments
        self._keys = keys
        self._records: list[dict[str, Any]] = read(path)

    def has(self, **key: Any) -> bool:
        """Whether there is a record with these values, perhaps among others."""
        return any(all(one.get(k) == v for k, v in key.items()) for one in self._records)

    def add(self, record: dict[str, Any]) -> None:
        """Adds a record, with how it was measured, and writes the file."""
        about = circumstances(self._module, self._arguments)
        for name in _RIVALS:
            with contextlib.suppress(metadata.PackageNotFoundError):
                about["versions"][name] = metadata.version(name)
        key = [record[name] for name in self._keys]
        others = [one for one in self._records if [one[name] for name in self._keys] != key]
        write_json(self.path, {"records": [*others, about | record]})
        self._records = read(self.path)


def read(path: Path) -> list[dict[str, Any]]:
    """The records of a file; none where there is no file.

    Raises:
        ValueError: it is not a file of records.
    """
    if not path.exists():
        return []
    content = json.loads(path.read_text())
    if not isinstance(content, dict) or not isinstance(content.get("records"), list):
        raise ValueError(f"{path}: expected an object with 'records', got something else")
    return content["records"]
