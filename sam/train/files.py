"""Writing files so that a reader, or a power cut, never meets half of one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO


@contextmanager
def atomic_file(path: str | Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file that takes the place of `path` when the block ends without an error.

    The bytes are on disk before the name changes, so `path` holds either its old content or the
    whole of the new one. The temporary file stands in the same folder, because a rename is atomic
    only within one file system, and it is removed when the block raises.

    Args:
        path: the file to write or replace. Its folder must exist.

    Yields:
        The temporary file, open for writing bytes.

    Raises:
        OSError: the folder is missing, or the disk is full or read-only.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        # Ctrl-C included: whatever stopped the writing, the half-written file goes.
        temporary.unlink(missing_ok=True)
        raise


def write_atomic(path: str | Path, content: str | bytes) -> None:
    """Writes `content` to `path` (UTF-8 for text) as `atomic_file` does."""
    with atomic_file(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)
