"""What a journal keeps of the words that a step writes and reads, and how they are made anew.

A step adds a few words to many slots, and reads few numbers from many. So what is kept is the words
that were added; with the weights they make all that was written. The forms of a step differ in how
they round: compiled loops may round a product and a sum together, torch rounds each. Which of the
two it was is noted, and where neither gives what is there, the difference, see `index.digits`.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from index.digits import Digits, corrected, difference, expanded
from sam.ops.sparse import SparseWeights

# So many numbers are worked on at a time.
_AT_ONCE = 2**22


class Writes(NamedTuple):
    """What the words written are made of, beside the weights."""

    adds: Tensor  # a, [B, V, W]
    once: bool  # whether product and sum were rounded together
    digits: Digits | None  # of the words at the slots of w^W, [B, V J, W]


class Reads(NamedTuple):
    """What the words read are made of, beside weights and memory."""

    once: bool
    digits: Digits | None  # of r, [B, R W]


class PastWrite(NamedTuple):
    """The write of a step, to take again."""

    slots: Tensor  # int64 [B, V, J]; the last one of each head is written over, -1 is none
    rows: Tensor  # of these slots in the flat words, int64 [B, V, J]
    values: Tensor  # w^W, [B, V, J]
    adds: Tensor  # a, [B, V, W]
    once: bool
    differences: Tensor | None  # `Writes.digits`, expanded


def note_writes(
    before: Tensor, write: SparseWeights, adds: Tensor, after: Tensor, like: bool
) -> Writes:
    """What a step has written.

    Args:
        before: the words at the slots that were read before, [B, V (J - 1), W].
        write: w^W, [B, V, J].
        adds: a, [B, V, W].
        after: the words at the slots of `write`, [B, V J, W].
        like: how the step before was rounded.

    Cost: O(B V J W), and O(B (V J)^2) comparisons of slots.
    """
    batch_size, writes, count = write.slots.shape
    slots, size = write.slots.flatten(1), adds.shape[2]
    # The words of the step alone: a slot is where it comes first.
    same = slots.unsqueeze(2) == slots.unsqueeze(1)
    first = torch.arange(batch_size, device=slots.device).unsqueeze(1) * slots.shape[1]
    rows = first + same.to(torch.int8).argmax(2)
    held = after.new_zeros(batch_size, writes, count, size)
    held[:, :, :-1] = before.view(batch_size, writes, count - 1, size)
    there = (slots >= 0) & ~same.tril(-1).any(2)
    found = []
    for once in (like, not like):
        flat = held.view(-1, size).clone()
        past = PastWrite(write.slots, rows.view_as(write.slots), write.values, adds, once, None)
        write_again(flat, [past])
        expected = flat.index_select(0, rows.flatten()).view(after.shape)
        digits = difference(torch.where(there.unsqueeze(2), after, expected), expected)
        found.append(Writes(adds, once, digits))
        if digits is None:
            break
    return min(found, key=_nbytes)


def write_again(flat: Tensor, steps: Sequence[PastWrite]) -> None:
    """Takes the writes of several steps, one after the other.

    Args:
        flat: words by row, [(1 + C) B, W]; changed. Nothing is put to a row of the slot -1.
        steps: in their order.

    Cost: O(B V J W) a step.
    """
    for _, run in itertools.groupby(steps, lambda step: (step.slots.shape, step.once)):
        alike = [*run]
        each = alike[0].slots.numel() * flat.shape[1]
        length = max(1, _AT_ONCE // max(1, each))
        for start in range(0, len(alike), length):
            _write_alike(flat, alike[start : start + length])


def _write_alike(flat: Tensor, steps: Sequence[PastWrite]) -> None:
    """Writes of one shape, rounded in one way.

    What comes to one slot repeatedly is added in its order: in turns, with each slot once in each.
    """
    slots = torch.stack([step.slots.flatten(1) for step in steps])  # [T, B, V J]
    rows = torch.stack([step.rows.flatten(1) for step in steps])
    values = torch.stack([step.values for step in steps]).flatten()
    adds = torch.stack([step.adds for step in steps]).flatten(0, 2)
    count, width = steps[0].slots.shape[2], slots.shape[2]
    turns = (slots.unsqueeze(3) == slots.unsqueeze(2)).tril(-1).sum(3)
    number = torch.arange(len(steps), device=slots.device)[:, None, None] * width + turns
    picked, number = (slots >= 0).flatten().nonzero()[:, 0], number.flatten()
    picked = picked[number[picked].argsort(stable=True)]
    sizes = number[picked].bincount(minlength=len(steps) * width).tolist()
    wide = torch.float64 if steps[0].once else flat.dtype
    heads = picked.div(count, rounding_mode="floor")
    products = values[picked].to(wide).unsqueeze(1) * adds[heads].to(wide)
    parts = zip(rows.flatten()[picked].split(sizes), products.split(sizes), strict=True)
    for step, past in enumerate(steps):
        flat.index_fill_(0, past.rows[:, :, -1].flatten(), 0.0)
        for places, added in itertools.islice(parts, width):
            if len(places):
                sums = flat.index_select(0, places) + added
                flat.index_copy_(0, places, sums.to(flat.dtype))
        if past.differences is not None:
            there = (slots[step] >= 0) & (turns[step] == 0)
            places = rows[step][there]
            right = corrected(flat.index_select(0, places), past.differences[there])
            flat.index_copy_(0, places, right)


def note_reads(words: Tensor, values: Tensor, reads: Tensor, like: bool) -> Reads:
    """What a step has read.

    Args:
        words: those that it read, [B, R, K, W].
        values: w^R, [B, R, K].
        reads: r, [B, R W].
        like: how the step before was rounded.

    Cost: O(B R K W).
    """
    found = []
    for once in (like, not like):
        digits = difference(reads, _summed(words, values, once))
        found.append(Reads(once, digits))
        if digits is None:
            break
    return min(found, key=_nbytes)


def read_again(words: Tensor, values: Tensor, noted: Reads, picked: Tensor | None) -> Tensor:
    """r, [B, R W], of batch rows `picked`, whose words and values are given; None is all."""
    reads = _summed(words, values, noted.once)
    if noted.digits is None:
        return reads
    differences = expanded(noted.digits)
    return corrected(reads, differences if picked is None else differences.index_select(0, picked))


def _summed(words: Tensor, values: Tensor, once: bool) -> Tensor:
    """sum_k w(k) M(k), from the first word on, [B, R W]."""
    wide = torch.float64 if once else words.dtype
    products = values.to(wide).unsqueeze(3) * words.to(wide)
    total = torch.zeros_like(words[:, :, 0])
    for product in products.unbind(2):
        total = (total + product).to(words.dtype)
    return total.flatten(1)


def _nbytes(noted: Writes | Reads) -> int:
    digits = noted.digits
    if digits is None:
        return 0
    return digits.values.nbytes + (0 if digits.places is None else digits.places.nbytes)
