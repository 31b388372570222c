"""The parts of a sparse memory's state belong together: which do, and checks of a state."""

import functools
from collections.abc import Callable
from operator import is_
from typing import Any, TypeVar

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.shape_checks import check_rows, check_tensor
from sam.store.companions import Companions, stranger, versions_of
from sam.store.word_store import WordStore

S = TypeVar("S")


def join(state: S, settings: Any = None) -> S:
    """Notes in the handle on the words which parts it is now in one state with; returns the state.

    Args:
        state: of a sparse memory, all parts of one and the same moment.
        settings: of the memory that made it, so that its next step need not look at sizes again.
    """
    of: Any = state
    order, index, links, read, write = _parts(of)
    versions = versions_of(read, write)
    of.words.companions = Companions(order, index, links, read, write, versions, settings)
    return state


def _parts(state: Any) -> tuple[Any, ...]:
    """What belongs to the words, in the order of `Companions`."""
    links = getattr(state, "links", None)
    read, write = getattr(state.read_weights, "slots", None), state.write_weights
    return state.order, state.index, links, read, getattr(write, "slots", None)


def check_together(state: Any) -> Any:
    """Checks that the parts of a state are those of one and the same moment.

    Returns:
        The settings of the memory whose step the state comes from, or None.

    Raises:
        StaleStateError: the words have changed since.
        ShapeError: a part is another state's, or was made from a part of this one.

    Cost: a few comparisons of identity.
    """
    words = state.words
    if not isinstance(words, WordStore):
        raise ShapeError(f"state.words: expected a WordStore, got {type(words).__name__}")
    words.check()
    known = words.companions
    if known is None:
        raise ShapeError(
            "state.words: expected those of a state that a memory returned, got a word store that "
            "was made or copied on its own"
        )
    parts = _parts(state)
    if all(map(is_, parts, known)) and known.is_intact:  # the usual case
        return known.settings
    name = stranger(parts, known)
    if name is not None:
        raise ShapeError(
            f"state.{name}: expected the one that belongs to state.words, got another; the parts "
            "of a state go together, and state.clone() copies all of them"
        )
    return known.settings


def together(function: Callable[..., S]) -> Callable[..., S]:
    """A function of all parts of a state, as a method of one whose parts belong together."""

    @functools.wraps(function)
    def method(state: S, *args: Any) -> S:
        check_together(state)
        return join(function(state, *args))

    return method


def check_parts(
    state: Any, memory: Any, given: Tensor, *, read: tuple[Any, ...], write: tuple[Any, ...]
) -> None:
    """Checks the state of a sparse memory before a step.

    Args:
        state: a `SAMState` or what has the same fields.
        memory: the settings, with `top_k`, `word_size` and `num_writes`.
        given: what the step is given, [B, ...]; for batch size, dtype and device.
        read: what the slots of w^R look like, beside the batch: H, and K or None for any.
        write: the same for w^W: V, and J or None.

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
        _check_slots("read", state.read_weights.slots, (batch_size, *read))
        _check_slots("write", state.write_weights.slots, (batch_size, *write))
    for name, weights in (("read", state.read_weights), ("write", state.write_weights)):
        values, slots = weights.values, weights.slots
        check_tensor(f"state.{name}_weights.values", values, slots.shape, like)
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


def check_active(active: Tensor | None, batch_size: int, device: torch.device) -> None:
    """Raises ShapeError unless `active` is None or bool [B]."""
    if active is not None:
        check_rows("active", active, batch_size, device)
