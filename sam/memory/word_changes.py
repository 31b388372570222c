"""What the rows of a state over a base wrote: taken out as a diff, and applied to other states."""

from typing import Any, TypeVar

from torch import Tensor

from index.base.commit import check_fits
from index.base.diff import BaseDiff
from sam.errors import ConfigError, ShapeError
from sam.store.companions import check_together

S = TypeVar("S")


def diff(state: Any) -> BaseDiff:
    """What each batch row wrote, over words of the base or to slots of its own; copied, detached.

    Args:
        state: of a sparse memory over a base; it stays good.

    Raises:
        StaleStateError: it was consumed.

    Cost: time and bytes of the words written.
    """
    check_together(state)
    order = state.order
    slots, places = order.written()
    bound = int(places.max()) + 1 if places.numel() else 0
    return BaseDiff(slots, state.words.peek(places, slot_bound=bound), order.num_base)


def apply_diff(state: S, given: BaseDiff) -> S:
    """The state with the words of a diff. Consumes the state.

    Args:
        state: of a sparse memory over a base of the size that the diff is of.
        given: of one row, for all batch rows, or of as many. Its words take the place of those
            that a row has at these slots, get no gradient, and count as accessed now, in their
            order. Own slots up to the last one given count as handed out.

    Raises:
        ShapeError: the diff is of another size, or has more own words than the memory has slots.
        StaleStateError: the state was consumed.

    Cost: time and bytes of the words of the diff.
    """
    of: Any = state
    order, store = of.order, of.words
    check_fits(given, order.base)
    batch_size = store.batch_size
    if given.batch_size not in (1, batch_size):
        raise ShapeError(f"diff: expected 1 row or B={batch_size}, got {given.batch_size}")
    slots = given.slots.to(store.buffer.rows.device).expand(batch_size, -1)
    highest = int(slots.max()) if slots.numel() else -1
    if highest >= order.memory_size:
        raise ShapeError(f"diff: expected slots below N={order.memory_size}, got {highest}")
    if highest < 0:
        return of._replace(words=store.detach())
    words = given.words.to(store.buffer.rows).expand(batch_size, -1, -1)
    with store.buffer.changing():
        places = order.take_written(slots, store.buffer)
        ones: Tensor = words.new_ones(*slots.shape, 1)
        bound = order.slot_bound
        after = store.write(places.unsqueeze(2), ones, words, erase=places, slot_bound=bound)
        # From the latest to the earliest.
        order.record_access(places.flip(1), ones[..., 0].flip(1), 0.5)
        of.index.reserve(order.memory_size)
        of.index.update(slots, words)
    return of._replace(words=after)


def cell_diff(state: Any) -> BaseDiff:
    """What each batch row of a `CellState` wrote; see `diff`."""
    return _over_base(state, "diff").diff()


def cell_apply(state: S, given: BaseDiff) -> S:
    """A `CellState` with the words of a diff; see `apply_diff`. Consumes the state."""
    of: Any = state
    return of._replace(memory=_over_base(of, "apply").apply(given), trace=None)


def _over_base(state: Any, name: str) -> Any:
    """The memory's part of a state."""
    if getattr(getattr(state.memory, "order", None), "base", None) is None:
        kind = type(state.memory).__name__
        raise ConfigError(f"{name}: expected a state over a base, got a {kind} without")
    return state.memory
