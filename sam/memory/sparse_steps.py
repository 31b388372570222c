"""What the sparse memories, SAM and SDNC, have in common: their start, their order of access, and
batch rows that wait while others go on."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from index import IndexConfig, VectorIndex, make_index
from sam import state as states
from sam.ops.sparse import SparseWeights
from sam.shape_checks import check_tensor
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore


def sparse_start(
    batch_size: int,
    memory_size: int,
    word_size: int,
    *,
    num_writes: int,
    index: str | IndexConfig,
    words: Tensor | None,
    device: torch.device | str | None,
    dtype: torch.dtype,
) -> tuple[WordStore, AccessOrder, VectorIndex]:
    """Store, order and index of an episode's start, empty or with words in the first slots.

    Raises:
        ShapeError, NonFiniteError: `words` are no words of this memory; see `given_words`.

    Cost: a few kilobytes whatever `memory_size` is; O(B n W) with n words.
    """
    kind: Any = {"device": device, "dtype": dtype}
    store = WordStore(batch_size, memory_size, word_size, words=words, **kind)
    loaded = 0 if words is None else words.shape[-2]
    order = AccessOrder(batch_size, memory_size, num_writes, device=device, loaded=loaded)
    sizes = {"batch_size": batch_size, "capacity": memory_size, "word_size": word_size}
    found_by = make_index(index, **sizes, **kind)
    if loaded:
        # Room beyond the words, or the first step would have to move all of them.
        found_by.reserve(store.capacity)
        found_by.load(store.words[:, :loaded])
    return store, order, found_by


def check_controls(controls: Any, shapes: Sequence[tuple[int, ...]], like: Tensor) -> None:
    """Raises ShapeError unless controls have these shapes, and dtype and device of `like`."""
    for place, (tensor, shape) in enumerate(zip(controls, shapes, strict=True)):
        if tensor is not None:
            check_tensor(f"controls.{controls._fields[place]}", tensor, shape, like)


def mask_inactive(
    active: Tensor, before: SparseWeights, oldest: Tensor, write_gates: Tensor
) -> tuple[SparseWeights, Tensor, Tensor]:
    """What a step is to write with, so that batch rows that are not `active` write nothing.

    Without a slot nothing is written; a shut gate keeps the pads zero.

    Args:
        active: bool [B].
        before: w^R_{t-1}, [B, ...].
        oldest: slots to write over, [B, V].
        write_gates: alpha, [B, V].
    """
    oldest = oldest.masked_fill(~active[:, None], -1)
    return before.reset(~active), oldest, write_gates * active[:, None]


def record_access(
    order: AccessOrder,
    read: SparseWeights,
    write: SparseWeights,
    threshold: float,
    active: Tensor | None,
    last: tuple[SparseWeights, SparseWeights],
) -> tuple[SparseWeights, SparseWeights]:
    """Tells the order what a step accessed; returns w^R and w^W of the state to go on with.

    Args:
        order: changed in place.
        read: w^R_t.
        write: w^W_t.
        threshold: delta.
        active: batch rows that took the step, bool [B], or None for all.
        last: w^R_{t-1} and w^W_{t-1}, which the other rows keep.
    """
    seen = read if active is None else read.reset(~active)
    # From the latest access to the earliest: a head's strongest read counts as the last.
    order.touch(
        torch.cat([seen.slots.flatten(1), write.slots.flatten(1)], 1),
        torch.cat([seen.values.flatten(1), write.values.flatten(1)], 1),
        threshold,
    )
    if active is None:
        return read, write
    return states.where(active, read, last[0]), states.where(active, write, last[1])
