"""What belongs to the words of a sparse memory at one moment, so that a mixture is noticed.

The order of access, the index and the links change in place together with the words, and the slots
read and written last say where the next step writes. A state is a tuple, so anybody can put parts
of two states, or of two moments, into one. The results would be wrong, without an error.
"""

import functools
from collections.abc import Callable, Sequence
from operator import is_
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.transforms import check_ordinary

S = TypeVar("S")


class Companions(NamedTuple):
    """Parts of the state that a handle on the words came in, by identity."""

    order: Any
    word_index: Any
    links: Any  # None but in an SDNC
    read_slots: Tensor  # of w^R
    write_slots: Tensor  # of w^W
    versions: tuple[int, ...]  # of both slots, see `versions_of`
    settings: Any  # of the memory whose step or start this was; None after any other operation

    @property
    def is_intact(self) -> bool:
        """Whether the slots are as they were."""
        return self.versions == versions_of(self.read_slots, self.write_slots)

    def renewed(self) -> "Companions":
        """With the slots as they are now; for copies of tensors, which torch counts from 0 on."""
        versions = versions_of(self.read_slots, self.write_slots)
        return self._replace(versions=versions, settings=None)


def versions_of(read_slots: Tensor, write_slots: Tensor) -> tuple[int, ...]:
    """How often they were changed in place, and where their numbers lie."""
    places = read_slots.data_ptr(), write_slots.data_ptr()
    if read_slots.is_inference() or write_slots.is_inference():
        return places  # changes are not counted
    return *places, read_slots._version, write_slots._version


def is_same(tensor: Any, other: Tensor) -> bool:
    """Whether two tensors are the same memory, seen in the same way."""
    return (
        isinstance(tensor, Tensor)
        and tensor.layout is torch.strided
        and tensor.data_ptr() == other.data_ptr()
        and tensor.shape == other.shape
        and tensor.stride() == other.stride()
        and tensor.dtype == other.dtype
        and tensor.device == other.device
    )


def stranger(parts: Sequence[Any], expected: Companions) -> str | None:
    """The name of the first of five parts that is not the one expected, if there is one."""
    for name, part, other in zip(_NAMES, parts, expected, strict=False):
        if not (part is other or (isinstance(other, Tensor) and is_same(part, other))):
            return name
    now, known = versions_of(*expected[3:5]), expected.versions
    return None if now == known else _NAMES[3 if now[::2] != known[::2] else 4]


_NAMES = "order", "index", "links", "read_weights.slots", "write_weights.slots"


def join(state: S, settings: Any = None) -> S:
    """Records in the handle on the words which parts are in one state with it; returns the state.

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
    if not hasattr(words, "companions"):
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
        for other in args:
            if type(other) is type(state):
                check_together(other)
        return join(function(state, *args))

    return method


def changed_together(function: Callable[..., S]) -> Callable[..., S]:
    """As `together`, for a function that changes tensors of the state in place."""

    @functools.wraps(function)
    def method(state: S, *args: Any) -> S:
        of: Any = state
        for part in (of.words.buffer.rows, of.read_weights.slots, of.write_weights.slots):
            check_ordinary(part)
        return changed(state, *args)

    changed = together(function)
    return method


def all_together(function: Callable[[Sequence[S]], S]) -> Callable[[Sequence[S]], S]:
    """As `together`, for a function of several such states, as a static method."""

    @functools.wraps(function)
    def method(states: Sequence[S]) -> S:
        parts = list(states)
        for state in parts:
            check_together(state)
        return join(function(parts))

    return method
