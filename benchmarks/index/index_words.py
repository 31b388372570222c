"""GloVe: 131,072 words of 50 numbers with the exact answers to 1,000 queries, as stored in a file.

The file is never downloaded. It is an npz with ``base`` [N, W] and ``query`` [Q, W], and, of a
search by the cosine, ``cos_ids`` and ``cos_sim`` [Q, 100], the best first.
"""

import os
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from index import Neighbors

ENVIRONMENT_VARIABLE = "SPARSE_SAM_ANN"
FILE_NAME = "glove-6b-50d-131k.npz"
DEFAULT = Path("../shared/data/ann") / FILE_NAME


class Glove(NamedTuple):
    """The set as one memory with its queries and what an exact search finds."""

    words: Tensor  # [1, N, W] float32
    queries: Tensor  # [1, Q, W] float32
    truth: Neighbors  # slots and cosines, [1, Q, 100]


def find_glove(path: Path | None) -> Path:
    """Where the file should be: as given, by the environment variable, or beside the checkout."""
    if path is not None:
        return path
    given = os.environ.get(ENVIRONMENT_VARIABLE)
    if not given:
        return DEFAULT
    return Path(given) / FILE_NAME if Path(given).is_dir() else Path(given)


def load_glove(path: Path) -> Glove:
    """Reads the file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not an npz, or an array is missing or of another shape.
    """
    with path.open("rb") as file:  # numpy would leave a file open that is no npz
        if not zipfile.is_zipfile(file):
            raise ValueError(f"{path}: expected an npz, got a file cut short, or another")
        file.seek(0)
        with numpy.load(file) as arrays:
            base, query, ids, scores = (_array(arrays, path, name) for name in _ARRAYS)
    if base.shape[1] != query.shape[1] or ids.shape != scores.shape or len(ids) != len(query):
        shapes = ", ".join(str([*array.shape]) for array in (base, query, ids, scores))
        raise ValueError(f"{path}: expected [N, W], [Q, W], [Q, n] and [Q, n], got {shapes}")
    # The words are stored in half precision, and the answers are those of exactly these values.
    words, queries = (torch.from_numpy(array.astype("float32")) for array in (base, query))
    truth = Neighbors(
        torch.from_numpy(ids.astype("int64")).unsqueeze(0),
        torch.from_numpy(scores.astype("float32")).unsqueeze(0),
    )
    return Glove(words.unsqueeze(0), queries.unsqueeze(0), truth)


_ARRAYS = ("base", "query", "cos_ids", "cos_sim")


def _array(arrays: "numpy.lib.npyio.NpzFile", path: Path, name: str) -> numpy.ndarray:
    if name not in arrays:
        raise ValueError(f"{path}: expected an array {name!r}, got {', '.join(arrays.files)}")
    array = arrays[name]
    if array.ndim != 2:
        raise ValueError(f"{path}: expected {name!r} with 2 dimensions, got {[*array.shape]}")
    return array
