"""Batch rows of an order of access over a base: picked, joined, and put in the place of others.

The base stays one and the same. What depends on places goes along as it is, since places are a
row's own; see `sam.store.access_rows`, which does the same for memories without a base. The order
is an `OverlayOrder` everywhere here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from index.base.slot_map import SlotMap

# Beside what `AccessTimes` and `SlotMap` have.
PARTS = "_fresh_rows", "_next", "_own", "_written"
_WINDOW = "_head", "_end", "_epoch", "_pending"


def row_kind(order: Any) -> dict[str, Any]:
    """What the orders of states that are joined have in common."""
    sizes = {
        "memory_size": order.memory_size,
        "slots a step": order.count,
        "base": order.base.identity,
    }
    return {**sizes, "base_writes": order.base_writes, "device": order._stamps.device}


def rows(order: Any, picked: Tensor) -> Any:
    """An independent order of some memories; see `access_rows.rows`."""
    order._settle()
    other = order._map(lambda tensor: tensor)
    for name in (*_WINDOW, *PARTS, "_stamps"):
        setattr(other, name, getattr(order, name).index_select(0, picked))
    other._queue = None if order._queue is None else order._queue.index_select(0, picked)
    other._named = SlotMap.of(order._named.written().index_select(0, picked))
    return _renewed(other)


def cat(orders: Sequence[Any]) -> Any:
    """An independent order of the memories of several."""
    for order in orders:
        order._settle()
    first = orders[0]
    joined = first._map(lambda tensor: tensor)
    joined._clock = max(order._clock for order in orders)
    capacity = max(order._stamps.shape[1] - 1 for order in orders)
    width = _width(orders)
    alike = [_with_space(order, capacity, width) for order in orders]
    for name in (*_WINDOW, *PARTS, "_stamps", "_queue"):
        setattr(joined, name, torch.cat([getattr(order, name) for order in alike]))
    joined._named = SlotMap.of(torch.cat(_slots([*orders])))
    return _renewed(joined)


def put(order: Any, picked: Tensor, other: Any) -> None:
    """Puts the memories of another order in the place of some, in place."""
    order._settle()
    other._settle()
    order._clock = max(order._clock, other._clock)
    capacity = max(each._stamps.shape[1] - 1 for each in (order, other))
    width = _width((order, other))
    mine, theirs = (_with_space(each, capacity, width) for each in (order, other))
    for name in (*_WINDOW, *PARTS, "_stamps", "_queue"):
        setattr(order, name, getattr(mine, name).index_copy(0, picked, getattr(theirs, name)))
    first, second = _slots([order, other])
    order._named = SlotMap.of(first.index_copy(0, picked, second))
    _renewed(order)


def _renewed(order: Any) -> Any:
    """The order with what follows from its rows."""
    count, stamps = len(order._stamps), order._stamps
    order._none, order._total = stamps.new_empty(count, 0), order._total.new_zeros(count, 0)
    order._untouched = bool(order._fresh_rows.all())
    if order._untouched:
        order._queue = None
    order.slot_bound = int(order.places_in_use.max()) if count else 0
    return order


def _slots(orders: list[Any]) -> list[Tensor]:
    """Slots by place of each, [B, P] with the same P."""
    most = max(order._named.most for order in orders)
    held = [order._named.written() for order in orders]
    return [functional.pad(slots, (0, most - slots.shape[1]), value=-1) for slots in held]


def _width(orders: Sequence[Any]) -> int:
    """Places of a snapshot. While all rows have fresh slots left there is none, however large N."""
    width = max(0 if order._queue is None else order._queue.shape[1] for order in orders)
    if all(bool(order._fresh_rows.all()) for order in orders):
        return width
    return max(width, *(order._last_fresh() for order in orders if len(order._head)))


def _with_space(order: Any, capacity: int, width: int) -> Any:
    """A view of an order with space for so many places, and a snapshot so wide."""
    other = order._map(lambda tensor: tensor)
    if capacity > other._stamps.shape[1] - 1:
        other._grow(capacity)
    queue = other._none if other._queue is None else other._queue
    more = torch.arange(queue.shape[1], max(width, queue.shape[1]), device=queue.device)
    other._queue = torch.cat([queue, more.expand(len(queue), -1)], 1)
    return other
