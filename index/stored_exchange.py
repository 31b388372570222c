"""An exchange in compiled loops: words checked, scaled and stored, and queries scaled, in one call.

The index is a `StoredIndex` everywhere here, whose words are not rounded.
"""

from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from index import checks
from index.errors import ShapeError
from index.metric import full_width
from index.neighbors import Neighbors


def exchange(
    index: Any, kernels: ModuleType, slots: Tensor, words: Tensor, queries: Tensor, k: int
) -> Neighbors:
    """`VectorIndex.exchange` of tensors with a batch dimension, on the CPU.

    Args:
        index: which.
        kernels: `index.kernels.steps`.
        slots, words, queries, k: as `VectorIndex.exchange`.
    """
    check_exchange(index, slots, words, queries, k)
    given = slots if slots.shape[1] <= checks.PAIRS_UP_TO else checks.keep_last(slots)
    norms = index.config.metric == "cosine", float(index.config.norm_eps or 0.0)
    held = index._words, index._penalty
    bound = index._slot_bound()
    below = min(bound, index._room)  # the loops would write beyond it
    last, vectors, finite, low, high = kernels.prepare_exchange(
        given, words, queries, *norms, *held, below
    )
    if low < -1 or high >= below:
        checks.check_slot_values(slots, below, look=True)
    if not finite:
        checks.check_finite_together(words, queries)
        # All are finite, but their sum overflows. In that case the loops have stored nothing.
        index._put(index._rows(torch.from_numpy(last)), vectors[:, : slots.shape[1]])
    index._in_use = bound
    with full_width(index.device):
        found = index._compiled_step(kernels, last, vectors, k)
    return index._recorded(queries, k, found)


def check_exchange(index: Any, slots: Tensor, words: Tensor, queries: Tensor, k: int) -> None:
    """Checks shapes and dtypes, as compiled loops do not check bounds.

    Raises:
        ShapeError, ValueError: one does not fit, or is not that of the index.
    """
    batch, dtype, width = index.batch_size, index.dtype, index.word_size
    if (
        k < 1
        or slots.dtype is not torch.int64
        or words.dtype is not dtype
        or queries.dtype is not dtype
        or words.shape != (*slots.shape, width)
        or queries.shape[::2] != (batch, width)
        or len(words) != batch
    ):
        checks.check_slot_tensor(slots, batch, index.device)
        like = batch, slots.shape[1], width
        checks.check_vectors("words", words, like, index._like)
        index._checked_queries(queries, k)
        raise ShapeError(
            f"exchange: expected slots of int64 and vectors of {dtype}, got slots of "
            f"{slots.dtype}, words of {words.dtype} and queries of {queries.dtype}"
        )
