"""What a file of a state or a model holds."""

from typing import Any

from index.tensor_files import read_parts


def parts_of(path: Any, kind: str) -> dict[str, Any]:
    """The parts, to be changed and written again with a right checksum."""
    given = read_parts(path, kind)
    return {**given._tensors, **given._settings}
