"""What a journal keeps of the updates of an index, so that a copy of it takes them again.

The words of a step are known, but not how they were divided by their lengths: each form of a step
has sums of its own. So the length is computed anew, in more digits, and what is kept is how far the
one that was taken is from it, in units of the last digit: a byte a word, and nothing where no word
has any. Where that does not give what the index holds, the rest is kept number by number.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index.digits import Digits, corrected, difference, expanded
from index.metric import full_width
from index.stored import StoredIndex
from index.vector_index import VectorIndex

_WHOLE = {torch.float32: torch.int32, torch.float64: torch.int64}
_OFFSETS = 0, 1, -1, 2, -2, 3, -3


class Lengths(NamedTuple):
    """How the words of an update were divided by their lengths."""

    inverse: bool  # whether they were multiplied by 1 / n(m), not divided by n(m)
    offsets: Tensor | None  # of that number from what it should be, int8 [B, M]; None is 0
    digits: Digits | None  # of the words [B, M, W], where that does not suffice


class IndexUpdate(NamedTuple):
    """What an index was after an update, beside the words themselves."""

    in_use: int  # every occupied slot is below it
    promised: int | None  # every slot to come is below it
    lengths: Lengths | None  # None where the words are held as they are given


def note_update(
    index: VectorIndex, slots: Tensor, words: Tensor, like: IndexUpdate | None = None
) -> IndexUpdate:
    """What an index holds at slots that were updated.

    Args:
        index: which.
        slots: int64 [B, M], -1 for none; a slot that comes repeatedly has its word each time.
        words: what was put there, [B, M, W].
        like: the update before it, which was likely made in the same form.

    Cost: O(B M W).
    """
    of: Any = index
    lengths = None
    if isinstance(index, StoredIndex) and index.config.metric == "cosine" and words.numel():
        held = of._flat.index_select(0, of._rows(slots)).view(*slots.shape, -1)
        first = like is not None and like.lengths is not None and like.lengths.inverse
        with full_width(index.device):
            lengths = _lengths(index, slots, words, held, first)
            if lengths.digits is not None or (like is None and lengths.offsets is not None):
                other = _lengths(index, slots, words, held, not first)
                lengths = min(lengths, other, key=_nbytes)
    return IndexUpdate(of._in_use, of._promised, lengths)


def _nbytes(lengths: Lengths) -> int:
    offsets, digits = lengths.offsets, lengths.digits
    kept = [] if digits is None else [digits.values, digits.places]
    return sum(part.nbytes for part in (offsets, *kept) if part is not None)


def _lengths(
    index: VectorIndex, slots: Tensor, words: Tensor, held: Tensor, inverse: bool
) -> Lengths:
    """How the words are to be divided to become what is held, [B, M, width]."""
    of: Any = index
    factors, storage = _factors(words, of._root_eps, inverse), of._storage
    present = slots >= 0
    found = storage.encode(_divided(words, factors, inverse))
    if not bool((present & (found != held).any(2)).any()):
        return Lengths(inverse, None, None)
    every = torch.tensor(_OFFSETS, dtype=torch.int8, device=slots.device)
    tried = storage.encode(_divided(words, _moved(factors, every[:, None, None, None]), inverse))
    offsets = every[(tried == held).all(3).to(torch.int8).argmax(0)].masked_fill(~present, 0)
    digits = None
    if not storage.rounds:  # what was rounded off is not known
        again = _divided(words, _moved(factors, offsets.unsqueeze(2)), inverse)
        digits = difference(torch.where(present.unsqueeze(2), held, again), again)
    return Lengths(inverse, offsets if bool(offsets.any()) else None, digits)


def _factors(words: Tensor, root_eps: Tensor, inverse: bool) -> Tensor:
    """n(m) = sqrt(m.m + eps) of words [..., W], or 1 / n(m): [..., 1] of their dtype."""
    squares = words.double().square().sum(-1, keepdim=True)
    length = (squares + root_eps.double().square()).sqrt()
    return (1 / length if inverse else length).to(words.dtype)


def _divided(words: Tensor, factors: Tensor, inverse: bool) -> Tensor:
    return words * factors if inverse else words / factors


def _moved(factors: Tensor, offsets: Tensor | int) -> Tensor:
    """Numbers so many units of the last digit away."""
    kind = _WHOLE[factors.dtype]
    return (factors.view(kind) + offsets).to(kind).view(factors.dtype)


class PastWords(NamedTuple):
    """What several updates, side by side, have put into an index."""

    slots: Tensor  # int64 [B, M], each at most once a row, -1 for none
    words: Tensor  # [B, M, W]
    widths: Sequence[int]  # of each update, M together
    rows: Tensor | None  # batch rows of the updates that these are; None is all


def redo_updates(index: VectorIndex, put: PastWords, updates: Sequence[IndexUpdate]) -> None:
    """Takes several updates once more, in an index that is as that one was before them.

    What an exact index then holds is the same to the last bit; the tables of an approximate one
    take the words as they come, without what its searches have learned.

    Args:
        index: is changed.
        put: the last words put to their slots.
        updates: in their order.
    """
    of: Any = index
    last = updates[-1]
    of._grow(max(last.in_use, last.promised or 0))
    of._in_use, of._promised = last.in_use, last.promised
    if not put.slots.numel():
        return
    pairs = zip(updates, put.words.split([*put.widths], 1), strict=True)
    with full_width(index.device):
        scaled = [
            _scaled(index, [*run], way, put.rows)
            for way, run in itertools.groupby(pairs, lambda pair: _way(pair[0]))
        ]
        of._update(put.slots, torch.cat(scaled, 1))


def _way(update: IndexUpdate) -> bool | None:
    return None if update.lengths is None else update.lengths.inverse


def _scaled(
    index: VectorIndex,
    run: Sequence[tuple[IndexUpdate, Tensor]],
    inverse: bool | None,
    rows: Tensor | None,
) -> Tensor:
    """The words of updates that were scaled in one way, as they were."""
    of: Any = index
    words = torch.cat([each for _, each in run], 1)
    if inverse is None:
        return words
    factors = _factors(words, of._root_eps, inverse)
    noted = [(update.lengths, each.shape[:2]) for update, each in run if update.lengths is not None]
    if any(lengths.offsets is not None for lengths, _ in noted):
        none = (torch.zeros(shape, dtype=torch.int8, device=words.device) for _, shape in noted)
        offsets = [
            zeros if lengths.offsets is None else _picked(lengths.offsets, rows)
            for (lengths, _), zeros in zip(noted, none, strict=True)
        ]
        factors = _moved(factors, torch.cat(offsets, 1).unsqueeze(2))
    parts = _divided(words, factors, inverse).split([shape[1] for _, shape in noted], 1)
    return torch.cat(
        [
            part
            if lengths.digits is None
            else corrected(part, _picked(expanded(lengths.digits), rows))
            for (lengths, _), part in zip(noted, parts, strict=True)
        ],
        1,
    )


def _picked(part: Tensor, rows: Tensor | None) -> Tensor:
    return part if rows is None else part.index_select(0, rows)
