"""What a file of a state holds of an order of access over a base, and how it is taken back.

The base is not in it, but how many words of which size it had: whoever loads a state gives the
base. The order is an `OverlayOrder` everywhere here.
"""

from typing import Any

import torch
from torch import Tensor

from index.base.slot_map import SlotMap
from index.contents import Contents

_MOST = 2**62


def content(order: Any) -> dict[str, Any]:
    """What a file of the state holds."""
    order._settle()
    slots = order._named.written()
    used = slots.shape[1]
    queue = order._none if order._queue is None else order._queue
    return {
        "memory_size": order.memory_size,
        "base": order.base.identity,
        "base_writes": order.base_writes,
        "clock": order._clock,
        "stamps": order._stamps[:, 1 : 1 + used],
        "slots": slots,
        "written": order._written[:, 1 : 1 + used],
        "fresh_rows": order._fresh_rows,
        "next": order._next,
        "head": order._head,
        "end": order._end,
        "epoch": order._epoch,
        "pending": order._pending,
        "queue": queue,
    }


def restored(order: Any, given: Contents) -> Any:
    """This order, fresh so far, as a file says it was.

    Raises:
        FileFormatError: it is that of other sizes, of another base, or of no memory.
    """
    batch_size, size, base = len(order._stamps), order.memory_size, order.num_base
    given.same("memory_size", size)
    given.same("base", order.base.identity)
    given.same("base_writes", order.base_writes)
    clock = given.number("clock", base, _MOST - 1)
    column, table = (batch_size, 1), (batch_size, None)
    stamps = given.integers("stamps", table, -size, max(clock, 0))
    places = stamps.shape[1]
    slots = given.integers("slots", (batch_size, places), -1, size)
    written = given.tensor("written", (batch_size, places), torch.bool)
    fresh = given.tensor("fresh_rows", column, torch.bool)
    following = given.integers("next", column, 0, base + 1)
    head = given.integers("head", column, 0, 2 * size + 1)
    end = given.integers("end", column, 0, 2 * size + 1)
    epoch = given.integers("epoch", column, 0, clock + 1)
    pending = given.integers("pending", (batch_size, order.count), -1, max(places, 1))
    queue = given.integers("queue", table, 0, max(size, 1))
    count, own = _counts(given, slots, base)
    right = torch.where(fresh, (head == count) & (end == size - base - own + count), end <= count)
    if bool((head > end).any()) or not bool(right.all()) or bool((pending >= count).any()):
        raise given.refuse("head", "a place before its end, and after those in use", "another")
    reach = torch.where(fresh, 0, end)
    inside = torch.arange(queue.shape[1]) < reach
    late = ~fresh[:, 0]
    if bool((reach > queue.shape[1]).any()) or bool((inside & (queue >= count)).any()):
        raise given.refuse("queue", "places in use", "others")
    if bool((written & (slots < 0)).any()):
        raise given.refuse("written", "places in use", "others")
    device = order._stamps.device
    order._clock, order.slot_bound = clock, places
    order._grow(max(order._stamps.shape[1] - 1, places))
    order._stamps[:, 1 : 1 + places] = stamps.to(device)
    order._written[:, 1 : 1 + places] = written.to(device)
    order._own = own.to(device)
    order._next, order._fresh_rows = following.to(device), fresh.to(device)
    order._head, order._end = head.to(device), end.to(device)
    order._epoch, order._pending = epoch.to(device), pending.to(device)
    order._untouched = not bool(late.any())
    order._queue = None if order._untouched else queue.to(device)
    order._named = SlotMap.of(slots.to(device))
    if not torch.equal(order._named.written().cpu(), slots):
        raise given.refuse("slots", "each at most once", "one repeatedly")
    return order


def _counts(given: Contents, slots: Tensor, base: int) -> tuple[Tensor, Tensor]:
    """Places in use and own slots of each row, [B, 1]; own ones come in their order."""
    named = slots >= 0
    count, own = named.sum(1, keepdim=True), (slots >= base)
    first = torch.arange(slots.shape[1]) < count
    number = base + own.cumsum(1) - 1
    if bool((named != first).any()) or bool((own & (slots != number)).any()):
        raise given.refuse("slots", "own ones in their order at the first places", "others")
    return count, own.sum(1, keepdim=True)
