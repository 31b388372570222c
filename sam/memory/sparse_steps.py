"""What the sparse memories, SAM and SDNC, have in common: how an episode starts, and how a step
begins and ends.

Batch rows outside of `active`, bool [B], stay as they are; None is all rows.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import IndexConfig, Neighbors, VectorIndex, make_index
from sam import state as states
from sam.memory.together import check_active, join
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


class StepStart(NamedTuple):
    """What a step writes with. Inactive rows have no slots (-1) and shut gates."""

    prev_read: SparseWeights  # w^R_{t-1}, [B, H, K]
    lru_slots: Tensor  # l_t, the least recently accessed slot of each write head, int64 [B, V]
    write_gates: Tensor  # alpha_t, [B, V]


def begin_step(memory: Any, controls: Any, state: Any, active: Tensor | None) -> StepStart:
    """Checks what a step is given, and takes the slots to write over.

    Args:
        memory: the settings, a `SAMMemory` or `SDNCMemory`.
        controls: of this step.
        state: of the step before.
        active: rows that take the step.

    Raises:
        StaleStateError: the state was consumed already.
        ShapeError: state or controls do not fit the settings or one another.
    """
    keys = controls.keys
    memory.check_state(state, keys)
    shapes = memory.control_shapes(len(keys))
    for name, tensor, shape in zip(controls._fields, controls, shapes, strict=True):
        if tensor is not None:
            check_tensor(f"controls.{name}", tensor, shape, keys)
    check_active(active, len(keys), keys.device)
    start = StepStart(state.read_weights, state.order.lru_slots(), controls.write_gates)
    if active is None:
        return start
    # Without a slot nothing is written; a shut gate keeps the pads zero.
    return StepStart(
        start.prev_read.reset(~active),
        start.lru_slots.masked_fill(~active[:, None], -1),
        start.write_gates * active[:, None],
    )


def find_nearest(state: Any, slots: Tensor, words: Tensor, keys: Tensor, top_k: int) -> Neighbors:
    """Tells the index the words [B, M, W] now at slots [B, M]; finds K words for each key."""
    state.index.reserve(state.order.slot_bound)
    return state.index.exchange(slots, words, keys, top_k)


def end_step(
    memory: Any,
    state: Any,
    words: WordStore,
    read: SparseWeights,
    write: SparseWeights,
    active: Tensor | None,
) -> Any:
    """Records which words were accessed; returns the next state.

    Args:
        memory: the settings.
        state: before the step; its order is changed in place.
        words: the store's handle after the step.
        read, write: w^R_t and w^W_t.
        active: rows that took the step; the others keep their last weights.
    """
    read_seen = read if active is None else read.reset(~active)
    # From the latest access to the earliest: a head's strongest read counts as the last.
    state.order.record_access(
        torch.cat([read_seen.slots.flatten(1), write.slots.flatten(1)], 1),
        torch.cat([read_seen.values.flatten(1), write.values.flatten(1)], 1),
        memory.access_threshold,
    )
    write = write.detach()  # no gradient comes through the weights of an earlier write
    if active is not None:
        read = states.where(active, read, state.read_weights)
        write = states.where(active, write, state.write_weights)
    after = state._replace(words=words, read_weights=read, write_weights=write)
    return join(after, memory)
