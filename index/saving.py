"""An index from its file."""

from pathlib import Path
from typing import Any

import torch

from index.config import IndexConfig
from index.registry import make_index
from index.tensor_files import read_parts
from index.vector_index import VectorIndex


def load_index(path: str | Path, *, device: torch.device | str | None = None) -> VectorIndex:
    """Reads an index that `VectorIndex.save` has written.

    Args:
        path: the file. It may come from a stranger: nothing in it is run.
        device: where the index is to live; the CPU unless told.

    Returns:
        The index: the words are those that were saved, what a backend learns from them is new.

    Raises:
        FileFormatError: the file is damaged, or of something else.
        BackendMissingError: safetensors, or the package of the backend, is not installed.
        OSError: there is no such file, or it cannot be read.
    """
    given = read_parts(path, "index")
    settings: dict[str, Any] = given.setting("config", dict)
    sizes = {name: given.number(name, 1, 2**63 - 1) for name in _SIZES}
    given.tensor("occupancy", (sizes["batch_size"],), torch.int64)  # before B makes tensors
    dtype = given.setting("dtype", str)
    try:
        index = make_index(
            IndexConfig(**settings), **sizes, device=device, dtype=_DTYPES.get(dtype, torch.int64)
        )
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise given.refuse("config", "settings of an index", error) from error
    index.restored(given)
    given.finish()
    return index


_SIZES = ("batch_size", "capacity", "word_size")
_DTYPES = {"float32": torch.float32, "float64": torch.float64}
