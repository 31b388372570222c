"""The compiled forms as the indexes call them: with tensors, which share memory with the arrays.

An exchange begins with `prepare_exchange`; in an exact index `best_of_all` follows.
"""

import numpy as np
import torch
from torch import Tensor

from index.kernels import exact_search, prepare
from index.llvm.dots import WORDS
from index.neighbors import Neighbors
from index.storage import as_array


def prepare_exchange(
    slots: Tensor,
    words: Tensor,
    queries: Tensor,
    cosine: bool,
    eps: float,
    held: Tensor,
    penalty: Tensor,
    below: int,
) -> tuple[np.ndarray, Tensor, bool, int, int]:
    """Calls `index.kernels.prepare.prepare`.

    Returns:
        Its `last` and `scaled`, the latter as a tensor; and what it returned.
    """
    batch_size, count = slots.shape
    last = np.empty((batch_size, count), np.int64)
    scaled = held.new_empty(batch_size, count + queries.shape[1], held.shape[2])
    finite, low, high = prepare.prepare(
        _contiguous(slots),
        _contiguous(words),
        _contiguous(queries),
        cosine,
        eps,
        last,
        scaled.numpy(),
        held.numpy(),
        penalty.numpy(),
        below,
    )
    return last, scaled, finite, low, high


def best_of_all(
    words: Tensor, penalty: Tensor, used: int, vectors: Tensor, skip: int, k: int, l2: bool
) -> Neighbors:
    """The k best words for the vectors after the first `skip`; see `index.kernels.exact_search`."""
    found = _empty(vectors, vectors.shape[1] - skip, k)
    held = as_array(words), penalty.numpy()
    room = np.empty(2 * WORDS, found.scores.numpy().dtype)
    exact_search.best_of_all(*held, used, vectors.numpy(), skip, l2, room, *_arrays(found))
    return found


def scaled(vectors: Tensor, eps: float) -> Tensor:
    """Vectors [B, M, W], divided by n(v) = sqrt(v.v + eps)."""
    found = torch.empty_like(vectors, memory_format=torch.contiguous_format)
    prepare.scale(_contiguous(vectors), found.numpy(), eps)
    return found


def _contiguous(tensor: Tensor) -> np.ndarray:
    return tensor.detach().contiguous().numpy()


def _empty(vectors: Tensor, queries: int, k: int) -> Neighbors:
    shape = len(vectors), queries, k
    return Neighbors(vectors.new_empty(shape, dtype=torch.int64), vectors.new_empty(shape))


def _arrays(found: Neighbors) -> tuple[np.ndarray, np.ndarray]:
    """Scores and slots."""
    return found.scores.numpy(), found.slots.numpy()
