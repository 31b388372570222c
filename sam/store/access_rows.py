"""Batch rows of an order of access: picked, joined, and put in the place of others.

Time stamps are compared within a memory only, so rows of different ages go together as they are,
as long as all that comes later gets larger ones. The order is an `AccessTimes` everywhere here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam.store.initial_words import room_for

_WINDOW = "_head", "_end", "_epoch", "_pending"


def row_kind(order: Any) -> dict[str, Any]:
    """What the orders of states that are joined have in common."""
    device = order._stamps.device
    return {"memory_size": order.memory_size, "slots a step": order.count, "device": device}


def rows(order: Any, picked: Tensor) -> Any:
    """An independent order of some memories, with space for the slots that they have handed out.

    Args:
        order: stays as it is.
        picked: batch rows, int64 [n].

    Cost: O(slots handed out). Waits for the device.
    """
    other, size = order._map(lambda tensor: tensor), order.memory_size
    for name in _WINDOW:
        setattr(other, name, getattr(order, name).index_select(0, picked))
    stamps, queue = order._stamps, order._queue
    if queue is not None and not bool((other._end == 2 * size).any()):
        queue = None  # none of these rows was ever sorted
    if queue is None:
        # What is not known any more is found out when slots are next asked for.
        most = int(other._head.max()) if len(picked) else 0
        other._untouched, other.slot_bound = True, min(most, size)
        stamps = stamps[:, : 1 + room_for(size, other.slot_bound)]
    other._queue = None if queue is None else queue.index_select(0, picked)
    return _filled(other, stamps.index_select(0, picked))


def cat(orders: Sequence[Any]) -> Any:
    """An independent order of the memories of several."""
    first = orders[0]
    joined = first._map(lambda tensor: tensor)
    joined._clock = max(order._clock for order in orders)
    joined.slot_bound = max(order.slot_bound for order in orders)
    joined._untouched = all(order._untouched for order in orders)
    for name in _WINDOW:
        setattr(joined, name, torch.cat([getattr(order, name) for order in orders]))
    sort = any(order._queue is not None for order in orders)
    joined._queue = torch.cat([_queue_of(order) for order in orders]) if sort else None
    room = _room(orders)
    return _filled(joined, torch.cat([_stamps_of(order, room) for order in orders]))


def put(order: Any, picked: Tensor, other: Any) -> None:
    """Puts the memories of another order in the place of some, in place.

    Args:
        order: is changed.
        picked: batch rows, int64 [n], each once.
        other: of n memories; stays as it is.
    """
    room = _room((order, other))
    order._grow(room)
    order._stamps.index_copy_(0, picked, _stamps_of(other, room))
    if order._queue is not None or other._queue is not None:
        order._queue = _queue_of(order).index_copy_(0, picked, _queue_of(other))
    for name in _WINDOW:
        getattr(order, name).index_copy_(0, picked, getattr(other, name))
    order._clock = max(order._clock, other._clock)
    order.slot_bound = max(order.slot_bound, other.slot_bound)
    order._untouched = order._untouched and other._untouched


def _filled(order: Any, stamps: Tensor) -> Any:
    """The order with these stamps, and what is as large as they are."""
    count = len(stamps)
    order._stamps = stamps
    order._none, order._total = stamps.new_empty(count, 0), order._total.new_zeros(count, 0)
    return order


def _room(orders: Sequence[Any]) -> int:
    """Slots with space in all of them: all N once some memory may have no fresh one left."""
    if all(order._untouched for order in orders):
        return max(order._stamps.shape[1] - 1 for order in orders)
    return orders[0].memory_size


def _stamps_of(order: Any, room: int) -> Tensor:
    """Stamps with space for more slots, which were never accessed."""
    stamps = order._stamps
    fresh = order._fresh(stamps.shape[1] - 1, room).expand(len(stamps), -1)
    return torch.cat([stamps, fresh], 1)


def _queue_of(order: Any) -> Tensor:
    """The snapshot, which is not stored as long as it is 0, 1, 2, ..."""
    if order._queue is not None:
        return order._queue
    identity = torch.arange(order.memory_size, device=order._head.device)
    return identity.repeat(len(order._stamps), 1)
