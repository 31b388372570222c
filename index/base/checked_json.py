"""Small JSON files with a checksum: the header of a base, the manifest of its shards."""

import hashlib
import json
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, TypeVar

from index.errors import FileFormatError

_VERSION = 1
_LONGEST = 2**22  # bytes
Parsed = TypeVar("Parsed")


def write_checked(path: Path, kind: str, content: dict[str, Any]) -> None:
    """Writes a new file for `read_checked`, and has it on disk."""
    content = {"format": kind, "version": _VERSION} | content
    content["sha256"] = checksum(content)
    with path.open("x", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def read_checked(
    path: Path, kind: str, expected: str, parse: Callable[[dict[str, Any]], Parsed]
) -> Parsed:
    """What `parse` makes of the content of a file, once its checksum is found right.

    Args:
        path: of the file, which may come from a stranger.
        kind: as it was written.
        expected: what the file should be, for errors.
        parse: raises ValueError, or what Python does, where the content is none.

    Raises:
        FileFormatError: it is something else, or damaged, or newer.
        OSError: it cannot be read.
    """
    try:
        if path.stat().st_size > _LONGEST:
            raise ValueError("one that is too long")
        content = json.loads(path.read_bytes())
        if not isinstance(content, dict) or content.get("format") != kind:
            raise ValueError("one of something else")
        if content.get("version") != _VERSION:
            known = f"where this release knows {_VERSION}"
            raise ValueError(f"version {content.get('version')!r}, {known}")
        if content.pop("sha256", None) != checksum(content):
            raise ValueError("another checksum than its own")
        del content["format"], content["version"]
        return parse(content)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        what = (str(error).splitlines() or [type(error).__name__])[0]
        raise FileFormatError(f"{path}: expected {expected}, got {what}") from error


def check_number(content: dict[str, Any], name: str, most: int) -> None:
    """Raises ValueError unless an entry is a whole number in 1 .. most."""
    if type(content[name]) is not int or not 1 <= content[name] <= most:
        raise ValueError(f"{name} {content[name]!r}")


def check_named(content: dict[str, Any], name: str, known: Collection[str] | None = None) -> None:
    """Raises ValueError unless an entry is a text, one of the known ones if there are such."""
    given = content[name]
    if not isinstance(given, str) or not given or (known is not None and given not in known):
        raise ValueError(f"{name} {given!r}")


def checksum(content: dict[str, Any]) -> str:
    """That of a content without one."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
