"""How a step of a sparse memory, SAM or SDNC, begins and ends, and what it checks of its state.

Batch rows outside of `active`, bool [B], stay as they are; None is all rows.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import Neighbors
from sam import state as states
from sam.errors import ShapeError
from sam.ops.sparse import SparseWeights
from sam.shape_checks import check_rows
from sam.store.companions import check_together, join
from sam.store.word_store import WordStore


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
    named = zip(controls._fields, controls, memory.control_shapes(len(keys)), strict=True)
    _check_tensors(
        [(f"controls.{n}", part, size) for n, part, size in named if part is not None], keys
    )
    if active is not None:
        check_rows("active", active, len(keys), keys.device)
    start = StepStart(state.read_weights, state.order.lru_slots(), controls.write_gates)
    state.order.load_for_writes(state.words.buffer)
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
    order, index = state.order, state.index
    told: Any = index, state.words.buffer, slots, words, keys, top_k
    return order.exchange(*told, slot_bound=order.slot_bound)


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
    # No gradient comes through the weights of an earlier write.
    write = SparseWeights(write.slots, write.values.detach())
    if active is not None:
        read = states.where(active, read, state.read_weights)
        write = states.where(active, write, state.write_weights)
    after = state._replace(words=words, read_weights=read, write_weights=write)
    return join(after, memory)


def check_state(memory: Any, state: Any, given: Tensor) -> None:
    """Checks the state of a sparse memory before a step, as its method.

    A state that comes from a step of the same settings has sizes that fit; those of any other are
    compared, the slots with `memory.slot_sizes`.

    Args:
        memory: the settings, a `SAMMemory` or `SDNCMemory`.
        state: a `SAMState` or `SDNCState`.
        given: what the step is given, [B, ...]; for batch size, dtype and device.

    Raises:
        StaleStateError: the state was consumed already.
        ShapeError: parts do not belong together, or a shape, dtype or device is another.
    """
    if not isinstance(state, memory.State):
        raise ShapeError(f"state: expected a {memory.State.__name__}, got {type(state).__name__}")
    settings = check_together(state)
    batch_size, like = len(given), state.words.buffer.rows
    if batch_size != like.shape[1]:
        raise ShapeError(f"state.words: expected batch size B={batch_size}, got {like.shape[1]}")
    if settings is not memory:
        _check_sizes(state, memory, given)
        read, write = memory.slot_sizes
        _check_slots("read", state.read_weights.slots, (batch_size, *read))
        _check_slots("write", state.write_weights.slots, (batch_size, *write))
    weights = ("read", state.read_weights), ("write", state.write_weights)
    _check_tensors(
        [(f"state.{name}_weights.values", of.values, of.slots.shape) for name, of in weights], like
    )
    if given.dtype != like.dtype or given.device != like.device:
        raise ShapeError(
            f"state.words: expected {given.dtype} on {given.device} as what the memory is given, "
            f"got {like.dtype} on {like.device}"
        )


def _check_slots(name: str, slots: Tensor, wanted: tuple[Any, ...]) -> None:
    """Checks the slots of the last step; a size of None is any."""
    fits = slots.dim() == len(wanted) and all(
        size in (None, found) for size, found in zip(wanted, slots.shape, strict=True)
    )
    if not fits:
        shape = ", ".join("any" if size is None else str(size) for size in wanted)
        raise ShapeError(
            f"state.{name}_weights.slots: expected shape [{shape}], got {[*slots.shape]}"
        )


def _check_sizes(state: Any, memory: Any, given: Tensor) -> None:
    """Checks what does not change from step to step against the settings."""
    batch_size, words, order, index = len(given), state.words, state.order, state.index
    writes, metric = memory.num_writes, memory.metric
    size = words.memory_size
    for name, found, wanted in (
        ("words: expected word size W", words.word_size, memory.word_size),
        ("order: expected slots handed out V", order.count, writes),
        ("order: expected slots N", order.memory_size, size),
        ("index: expected slots N", index.capacity, size),
        ("index: expected word size W", index.word_size, memory.word_size),
        ("index: expected batch size B", index.batch_size, batch_size),
        ("index: expected metric", index.config.metric, metric),
    ):
        if found != wanted:
            raise ShapeError(f"state.{name}={wanted} as this memory has, got {found}")


def _check_tensors(tensors: Iterable[tuple[str, Any, Sequence[int]]], like: Tensor) -> None:
    """Raises unless tensors have the shapes beside them, and the dtype and device of `like`.

    Args:
        tensors: the name for the message, the tensor, and the shape that it must have.
        like: any tensor of that dtype and device.

    Raises:
        ShapeError: naming the argument, the expected shape, dtype and device, and those given.
    """
    for name, tensor, shape in tensors:
        if not isinstance(tensor, Tensor):
            raise ShapeError(f"{name}: expected a tensor, got {type(tensor).__name__}")
        if (
            tensor.shape != shape
            or tensor.dtype != like.dtype
            or tensor.device != like.device
            or tensor.layout is not torch.strided
        ):
            raise ShapeError(
                f"{name}: expected {like.dtype} on {like.device} of shape {[*shape]}, "
                f"got {tensor.dtype} on {tensor.device} of shape {[*tensor.shape]}"
            )
