"""What a journal keeps of the updates of an index, so that a copy of it takes them again.

The words of a step are known, but not how they were divided by their lengths: each form of a step
has sums of its own. So what an index holds is kept as the difference from words that are scaled
anew, in units of the last digit: a byte a number, and nothing where they agree.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from index.metric import full_width
from index.stored import StoredIndex
from index.vector_index import VectorIndex

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}
_NARROW = torch.int8, torch.int16, torch.int32


class IndexUpdate(NamedTuple):
    """What an index was after an update, beside the words themselves."""

    in_use: int  # every occupied slot is below it
    promised: int | None  # every slot to come is below it
    digits: Tensor | None  # [B, M, W]; None where the words are as scaled anew


def note_update(index: VectorIndex, slots: Tensor, words: Tensor) -> IndexUpdate:
    """What an index holds at slots that were updated.

    Args:
        index: which.
        slots: int64 [B, M], each at most once a row, -1 for none.
        words: what was put there, [B, M, W].

    Cost: O(B M W).
    """
    of: Any = index
    digits = None
    if isinstance(index, StoredIndex) and index.config.metric == "cosine":
        held = of._flat.index_select(0, of._rows(slots)).view(words.shape)
        kind = _WHOLE[index.dtype]
        with full_width(index.device):
            digits = held.view(kind) - of._scaled(words).view(kind)
        digits = _narrow(digits.masked_fill_(slots.unsqueeze(2) < 0, 0))
    return IndexUpdate(of._in_use, of._promised, digits)


def _narrow(digits: Tensor) -> Tensor | None:
    """The same numbers in the narrowest type that has them; None if all are 0."""
    low, high = (int(value) for value in digits.aminmax()) if digits.numel() else (0, 0)
    if low == high == 0:
        return None
    for kind in _NARROW:
        limits = torch.iinfo(kind)
        if limits.min <= low and high <= limits.max:
            return digits.to(kind)
    return digits


def redo_updates(
    index: VectorIndex, slots: Tensor, words: Tensor, digits: Tensor | None, last: IndexUpdate
) -> None:
    """Takes several updates once more, in an index that is as that one was before them.

    What an exact index then holds is the same to the last bit; the tables of an approximate one
    take the words as they come, without what its searches have learned.

    Args:
        index: is changed.
        slots: int64 [B, M], each at most once a row, -1 for none.
        words: the last ones put there, [B, M, W].
        digits: theirs, [B, M, W], or None where no update had any.
        last: of the last update.
    """
    of: Any = index
    of._grow(max(last.in_use, last.promised or 0))
    of._in_use, of._promised = last.in_use, last.promised
    if not slots.shape[1]:
        return
    with full_width(index.device):
        scaled = of._scaled(words)
        if digits is not None:
            kind = _WHOLE[index.dtype]
            scaled = (scaled.view(kind) + digits).to(kind).view(index.dtype)
        of._update(slots, scaled)
