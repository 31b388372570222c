"""Files that are whole or not there, and files of tensors that are read only if nothing is wrong.

A file of tensors is one safetensors file: tensors under dotted names, and in its metadata what the
file is, the version of that, settings as JSON, and a checksum of all of it. Nothing is unpickled,
so that a file from a stranger can do no more than be refused.
"""

import hashlib
import json
import os
import secrets
import stat
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from index.contents import Contents
from index.errors import BackendMissingError, FileFormatError

VERSION = 1
TEMPORARY = ".tmp"  # how the name of a file ends that is not finished
INSTALL = "pip install 'sparse-access-memory[train]'"
# The header that safetensors itself allows.
_LONGEST_HEADER = 100_000_000


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Yields a temporary file, open for bytes, that replaces `path` unless the block raises.

    The bytes are on disk before the name changes, so `path` holds either its old content or all of
    the new one. The temporary file is in the same folder, because a rename is atomic only within
    one file system, and is removed if the block raises. Its name is random, so that two processes
    can write one file; a killed process leaves it behind.

    Raises:
        OSError: the folder is missing, or the disk is full or read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{TEMPORARY}")
    try:
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Ctrl-C included: whatever stopped the writing, the half-written file goes.
        with suppress(OSError):  # the first error is raised
            temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes `content` to `path` (UTF-8 for text) as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_parts(
    path: str | Path,
    kind: str,
    parts: Mapping[str, Any],
    *,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors and settings as one file, whole or not at all.

    Args:
        path: the file to write or replace.
        kind: what the file is, such as ``"index"``.
        parts: tensors, and settings that JSON can hold, by name.
        notes: further metadata, which is not checked on reading.

    Raises:
        BackendMissingError: safetensors is not installed.
        OSError: the file cannot be written.
        TypeError: a setting is none that JSON can hold.

    Cost: the bytes of the tensors twice, while it runs.
    """
    tensors = _apart({name: part for name, part in parts.items() if isinstance(part, Tensor)})
    settings = json.dumps({name: part for name, part in parts.items() if name not in tensors})
    metadata = {"format": _format(kind), "version": str(VERSION), "settings": settings}
    metadata["sha256"] = _checksum(metadata, tensors)
    write_atomic(path, _safetensors().torch.save(tensors, {**(notes or {}), **metadata}))


def read_parts(
    path: str | Path, kind: str, error: type[FileFormatError] = FileFormatError
) -> Contents:
    """Reads a file of `write_parts` of the same kind; the parts are on the CPU and not yet checked.

    Raises:
        FileFormatError: `error`; the file is cut short, damaged, of another kind, or newer.
        BackendMissingError: safetensors is not installed.
        OSError: there is no such file, or it cannot be read.
    """
    safetensors = _safetensors()
    try:
        metadata, data = _read(Path(path), kind)
        tensors = safetensors.torch.load(data)
        if metadata["sha256"] != _checksum(metadata, tensors):
            raise FileFormatError("another checksum than its own")
        settings = json.loads(metadata["settings"])
        if not isinstance(settings, dict):
            raise FileFormatError("settings that are no table")
    except _Refused as wrong:
        raise error(f"{path}: expected a file of {_format(kind)!r}, got {wrong}") from None
    except (FileFormatError, *_damage(safetensors)) as damage:
        what = (str(damage).splitlines() or [""])[0] or type(damage).__name__
        raise error(
            f"{path}: expected a file of {_format(kind)!r}, got one that is cut short or damaged "
            f"({what})"
        ) from damage
    return Contents(path, tensors, settings, error)


class _Refused(FileFormatError):
    """A file that is not damaged, but of another kind or version."""


def _read(path: Path, kind: str) -> tuple[dict[str, str], bytes]:
    """The metadata, if they are of this kind, and all bytes."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # reading may never end
        raise _Refused("a pipe, socket or device")
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0]
        if size > min(_LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise FileFormatError(f"a header of {size} bytes")
        header = file.read(size)
        table = json.loads(header)
        metadata = table.get("__metadata__") if isinstance(table, dict) else None
        if not isinstance(metadata, dict) or metadata.get("format") != _format(kind):
            found = metadata.get("format") if isinstance(metadata, dict) else None
            raise _Refused("another file" if found is None else f"one of {found!r}")
        if metadata["version"] != str(VERSION):
            raise _Refused(f"version {metadata['version']!r}, where this release knows {VERSION}")
        return metadata, start + header + file.read()


def _format(kind: str) -> str:
    return f"sparse-access-memory {kind}"


def _damage(safetensors: Any) -> tuple[type[BaseException], ...]:
    """What the readers of JSON and safetensors raise for damaged bytes."""
    return (
        safetensors.SafetensorError,
        struct.error,
        RecursionError,
        RuntimeError,
        LookupError,
        ValueError,
        TypeError,
        AttributeError,
        OverflowError,
        MemoryError,
    )


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors on the CPU, without gaps, none in the memory of another one."""
    apart, seen = {}, set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone() if place in seen else tensor
        seen.add(place)
    return apart


def _checksum(metadata: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over what the file is, its settings, and names, types, shapes, bytes of tensors."""
    total = hashlib.sha256()
    header = [metadata["format"], metadata["version"], metadata["settings"]]
    for name, tensor in sorted(tensors.items()):
        header += [name, str(tensor.dtype), str([*tensor.shape])]
    total.update(json.dumps(header).encode())
    for _, tensor in sorted(tensors.items()):
        total.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise BackendMissingError(
            f"safetensors: expected an installed package, got {error}; {INSTALL}"
        ) from error
    return safetensors
