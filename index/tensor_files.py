"""Files that are whole or not there, and files of tensors that are read only if nothing is wrong.

A file of tensors is one safetensors file: tensors under dotted names, and in its metadata what the
file is, the version of that, settings as JSON, and a checksum of all of it. Nothing is unpickled,
so that a file from a stranger can do no more than be refused.

In version 1 the checksum is over all bytes of the tensors. From version 2 on, which only files of
an index have, it is over their digests, so that settings and small tensors of a file that is mapped
into memory can be verified without reading the large ones. Version 3 is that of an index which
keeps its words in another way than it computes with them.
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

# The newest versions; all from 1 on are read.
_VERSIONS = {"index": 3}
# Of a mapped file tensors of fewer bytes are verified even if not all of them are.
_SMALL = 2**20
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
    version: int | None = None,
    notes: Mapping[str, str] | None = None,
) -> None:
    """Writes tensors and settings as one file, whole or not at all.

    Args:
        path: the file to write or replace.
        kind: what the file is, such as ``"index"``.
        parts: tensors, and settings that JSON can hold, by name.
        version: the lowest that has what is in the file, for older releases; the newest unless
            told.
        notes: further metadata, which is not checked on reading.

    Raises:
        BackendMissingError: safetensors is not installed.
        OSError: the file cannot be written.
        TypeError: a setting is none that JSON can hold.

    Cost: the bytes of the tensors twice, while it runs.
    """
    version = _VERSIONS.get(kind, 1) if version is None else version
    tensors = _apart({name: part for name, part in parts.items() if isinstance(part, Tensor)})
    settings = json.dumps({name: part for name, part in parts.items() if name not in tensors})
    metadata = {"format": _format(kind), "version": str(version), "settings": settings}
    if version > 1:
        digests = {name: _digest(tensor) for name, tensor in tensors.items()}
        metadata["digests"] = json.dumps(digests)
    metadata["sha256"] = _checksum(metadata, tensors)
    write_atomic(path, _safetensors().torch.save(tensors, {**(notes or {}), **metadata}))


def read_parts(
    path: str | Path,
    kind: str,
    error: type[FileFormatError] = FileFormatError,
    *,
    mapped: bool = False,
    verify: bool | None = None,
) -> Contents:
    """Reads a file of `write_parts` of the same kind; the parts are on the CPU and not yet checked.

    Args:
        path: the file.
        kind: what it must be.
        error: what to raise.
        mapped: map the tensors into memory of this process alone: they may be written to, and the
            file stays as it is.
        verify: compare the digests of all tensors. Unless told, of a mapped file only those of
            small ones, below 1 MiB, are compared. Files of version 1 are always verified.

    Raises:
        FileFormatError: `error`; the file is cut short, damaged, of another kind, or newer.
        BackendMissingError: safetensors is not installed.
        OSError: there is no such file, or it cannot be read.
    """
    safetensors = _safetensors()
    try:
        with torch.inference_mode(False):  # or they could not be written to outside of it
            _refuse_pipes(Path(path))
            read = _mapped if mapped else _read
            metadata, tensors = read(Path(path), kind, safetensors)
        whole = verify is True or (verify is None and not mapped)
        _verify(metadata, tensors, whole)
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
    return Contents(path, tensors, settings, error, mapped=mapped)


class _Refused(FileFormatError):
    """A file that is not damaged, but of another kind or version."""


def _read(path: Path, kind: str, safetensors: Any) -> tuple[dict[str, str], dict[str, Tensor]]:
    """The metadata, if they are of this kind, and all tensors."""
    with path.open("rb") as file:
        start = file.read(8)
        size = struct.unpack("<Q", start)[0]
        if size > min(_LONGEST_HEADER, os.fstat(file.fileno()).st_size - 8):
            raise FileFormatError(f"a header of {size} bytes")
        header = file.read(size)
        table = json.loads(header)
        metadata = _of_kind(table.get("__metadata__") if isinstance(table, dict) else None, kind)
        return metadata, safetensors.torch.load(start + header + file.read())


def _mapped(path: Path, kind: str, safetensors: Any) -> tuple[dict[str, str], dict[str, Tensor]]:
    """As `_read`; the tensors lie in private memory that is mapped from the file."""
    path.open("rb").close()  # for the system's own errors
    with safetensors.safe_open(path, framework="pt") as file:
        metadata = _of_kind(file.metadata(), kind)
        return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _refuse_pipes(path: Path) -> None:
    """Refuses what reading may never come to an end of."""
    mode = path.stat().st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
        raise _Refused("a pipe, socket or device")


def _of_kind(metadata: Any, kind: str) -> dict[str, str]:
    """Metadata that are of this kind, of a version that is known."""
    if not isinstance(metadata, dict) or metadata.get("format") != _format(kind):
        found = metadata.get("format") if isinstance(metadata, dict) else None
        raise _Refused("another file" if found is None else f"one of {found!r}")
    newest = _VERSIONS.get(kind, 1)
    if metadata["version"] not in [str(version) for version in range(1, 1 + newest)]:
        raise _Refused(f"version {metadata['version']!r}, where this release knows {newest}")
    return metadata


def _verify(metadata: Mapping[str, str], tensors: Mapping[str, Tensor], whole: bool) -> None:
    """Raises FileFormatError unless the file has the checksum that it should have.

    Args:
        metadata: of the file.
        tensors: of the file.
        whole: look at all tensors, not only at small ones; of version 1 always.
    """
    if (metadata["version"] == "1") != ("digests" not in metadata):
        raise FileFormatError("digests that are not of its version")
    if metadata["sha256"] != _checksum(metadata, tensors):
        raise FileFormatError("another checksum than its own")
    if "digests" not in metadata:
        return
    digests = json.loads(metadata["digests"])
    for name, tensor in tensors.items():
        small = tensor.numel() * tensor.element_size() < _SMALL
        if (whole or small) and digests[name] != _digest(tensor):
            raise FileFormatError(f"another checksum than that of {name!r}")


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
    """SHA-256 over what the file is, its settings, names, types, shapes, and bytes or digests."""
    total = hashlib.sha256()
    header = [metadata["format"], metadata["version"], metadata["settings"]]
    for name, tensor in sorted(tensors.items()):
        header += [name, str(tensor.dtype), str([*tensor.shape])]
    total.update(json.dumps(header).encode())
    if "digests" in metadata:
        total.update(metadata["digests"].encode())
        return total.hexdigest()
    for _, tensor in sorted(tensors.items()):
        total.update(_bytes(tensor))
    return total.hexdigest()


def _digest(tensor: Tensor) -> str:
    """SHA-256 of the bytes of one tensor."""
    return hashlib.sha256(_bytes(tensor)).hexdigest()


def _bytes(tensor: Tensor) -> memoryview:
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def _safetensors() -> Any:
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise BackendMissingError(
            f"safetensors: expected an installed package, got {error}; {INSTALL}"
        ) from error
    return safetensors
