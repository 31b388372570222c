"""The order of last access, for one batch row; compiled form of `sam.store.access_order`.

Both work on the same arrays, so that either form can go on where the other stopped.
"""

from typing import Any

from index.compiled import lean_inline


@lean_inline
def find_lru(
    lru_slots: Any,
    pending: Any,
    stamps: Any,
    queue: Any,
    head: int,
    end: int,
    epoch: int,
    size: int,
) -> int:
    """The least recently accessed slots of one memory, oldest first.

    Args:
        lru_slots: where they go, int64 [V].
        pending: handed out before, int64 [V]; replaced by the new ones if there are enough.
        stamps: time of last access by place, 1 + slot, int64 [1 + C].
        queue: the snapshot, int64 [N], or [0] where it is 0, 1, 2, ...
        head, end: first place of the snapshot that is left, and the one behind the last.
        epoch: what has a smaller stamp is still in order.
        size: N.

    Returns:
        The new head; -1 if the snapshot is used up, and then nothing was changed.
    """
    count = len(pending)
    found = 0
    for i in range(count):
        slot = pending[i]
        if slot >= 0 and stamps[1 + slot] < epoch:
            lru_slots[found] = slot
            found += 1
    while found < count:
        if head >= end:
            return -1
        slot = head % size
        if len(queue) > 0:
            slot = queue[slot]
        head += 1
        if stamps[1 + slot] < epoch:
            lru_slots[found] = slot
            found += 1
    for i in range(count):
        pending[i] = lru_slots[i]
    return head


@lean_inline
def record_access(
    stamps: Any,
    total: Any,
    read: Any,
    read_values: Any,
    write: Any,
    write_values: Any,
    now: int,
    threshold: Any,
) -> None:
    """Makes the slots whose summed weight exceeds a threshold the most recently accessed.

    Args:
        stamps: see `find_lru`; changed.
        total: zeros by place, of the weights' type, [1 + C]; zeros again afterwards.
        read, read_values: slots read, -1 for none, and their weights, [H, K]: the latest accesses.
        write, write_values: slots written to and weights, [V, J].
        now: stamp of the latest access.
        threshold: delta.
    """
    _add(total, read, read_values)
    _add(total, write, write_values)
    now = _stamp(stamps, total, read, now, threshold)
    _stamp(stamps, total, write, now, threshold)
    _clear(total, read)
    _clear(total, write)


@lean_inline
def _add(total: Any, slots: Any, values: Any) -> None:
    for head in range(slots.shape[0]):
        for k in range(slots.shape[1]):
            total[1 + slots[head, k]] += values[head, k]


@lean_inline
def _stamp(stamps: Any, total: Any, slots: Any, now: int, threshold: Any) -> int:
    for head in range(slots.shape[0]):
        for k in range(slots.shape[1]):
            place = 1 + slots[head, k]
            if place > 0 and total[place] > threshold and stamps[place] < now:
                stamps[place] = now
            now -= 1
    return now


@lean_inline
def _clear(total: Any, slots: Any) -> None:
    for head in range(slots.shape[0]):
        for k in range(slots.shape[1]):
            total[1 + slots[head, k]] = 0
