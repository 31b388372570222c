"""What a journal keeps of the order of access, and how a copy of it takes steps once more.

Which accesses counted is kept, a bit each, and not made anew from the weights: a sum close to the
threshold could come out on its other side.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from sam.store.access_order import AccessOrder


class Accesses(NamedTuple):
    """An order after a step."""

    counted: Tensor  # which accesses of the step counted, a bit each, uint8 [B, (M + 7) // 8]
    window: Tensor  # head, end, epoch, and the slots pending, integers [B, 3 + V]
    clock: int
    high: int
    untouched: bool
    capacity: int  # C
    may_sort: bool  # whether the step may have begun with a sort


def note_accesses(order: AccessOrder, slots: Tensor) -> Accesses:
    """What a step has made of an order.

    Args:
        order: after the step.
        slots: what the step accessed, from the latest to the earliest, int64 [B, M].

    Cost: O(B M).
    """
    of: Any = order
    began = of._clock - slots.shape[1]
    counted = of._stamps.gather(1, slots + 1) >= began
    window = torch.cat([of._head, of._end, of._epoch, of._pending], 1)
    if max(2 * order.memory_size, of._clock) < 2**31:
        window = window.to(torch.int32)
    sorts = bool((of._epoch == began).any())
    capacity = order.last_access.shape[1]
    numbers = of._clock, of.slot_bound, of._untouched
    return Accesses(_bits(counted), window, *numbers, capacity, sorts)


def redo_sort(order: AccessOrder, window: Tensor, noted: Accesses) -> None:
    """Sorts the rows that a step began with sorting, in an order that is as that one was then.

    Args:
        order: is changed.
        window: that of `noted`, of the rows that this order has.
        noted: of that step.
    """
    of: Any = order
    if noted.capacity > order.last_access.shape[1]:
        of._grow(noted.capacity)
    used_up = window[:, 2:3] != of._epoch
    if noted.may_sort and bool(used_up.any()):
        of._sort(used_up[:, 0])


def redo_accesses(
    order: AccessOrder, slots: Tensor, times: Tensor, window: Tensor, last: Accesses
) -> None:
    """Takes the accesses of several steps once more; only before the first there was a sort.

    Args:
        order: is changed.
        slots: accessed, int64 [B, M]; -1 for none.
        times: of each access, -1 where it did not count, [B, M].
        window: that of `last`, of the rows that this order has.
        last: of the last step.

    Cost: O(B M).
    """
    of: Any = order
    if last.capacity > order.last_access.shape[1]:
        of._grow(last.capacity)
    stamps = torch.where(times < 0, of._never, times)
    of._stamps.scatter_reduce_(1, slots + 1, stamps, "amax")
    parts = window.split([1, 1, 1, order.count], 1)
    of._head, of._end, of._epoch, of._pending = (
        part.to(torch.int64, copy=True, memory_format=torch.contiguous_format) for part in parts
    )
    of._clock, of.slot_bound, of._untouched = last.clock, last.high, last.untouched


def times_of(noted: Accesses, accesses: int) -> Tensor:
    """When each access of a step was, -1 for those that did not count, int64 [B, M]."""
    counted = _bools(noted.counted, accesses)
    times = torch.arange(noted.clock - 1, noted.clock - 1 - accesses, -1, device=counted.device)
    return torch.where(counted, times, -1)


def _bits(bools: Tensor) -> Tensor:
    """Eight bools a byte, uint8 [B, (M + 7) // 8]."""
    bytes_ = torch.nn.functional.pad(bools, (0, -bools.shape[1] % 8)).view(len(bools), -1, 8)
    return (bytes_ << _places(bools)).sum(2).to(torch.uint8)


def _bools(bits: Tensor, count: int) -> Tensor:
    """The first bools of such bytes."""
    return (bits.unsqueeze(2) >> _places(bits)).bitwise_and(1).flatten(1)[:, :count].bool()


def _places(like: Tensor) -> Tensor:
    return torch.arange(8, dtype=torch.uint8, device=like.device)
