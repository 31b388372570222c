"""Checks of a state that is handed to a model, part by part, against what the model begins with.

What a part must look like is found out once, from initial states of two batch sizes and one that
has grown: which dimensions are the batch, which the words of the memory, and how large the others
are. A memory with a method `check_state` checks its states itself, at each of its steps.
"""

from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from sam.errors import ConfigError, ShapeError


class TensorPart(NamedTuple):
    """What a tensor of a state looks like."""

    shape: tuple[int | str | None, ...]  # "B", "N", or a size; None is any
    dtype: torch.dtype
    device: torch.device

    def check(self, name: str, part: Any, sizes: dict[str, int]) -> None:
        if not isinstance(part, Tensor):
            raise ShapeError(f"{name}: expected a tensor, got {type(part).__name__}")
        if (
            part.shape == (sizes["B"], *self.shape[1:])
            and part.dtype == self.dtype
            and part.device == self.device
            and part.layout is torch.strided
            and self.shape[:1] == ("B",)
        ):
            return  # the usual case, where no other size is open
        fits = part.dim() == len(self.shape) and part.layout is torch.strided
        for size, given in zip(self.shape, part.shape, strict=False):
            wanted = sizes.setdefault(size, given) if isinstance(size, str) else size
            fits = fits and (wanted is None or wanted == given)
        if not fits or part.device != self.device or not self._takes(part.dtype):
            letters = (
                f"{size}={sizes[size]}" if isinstance(size, str) and size in sizes else str(size)
                for size in self.shape
            )
            raise ShapeError(
                f"{name}: expected {self.dtype} [{', '.join(letters)}] on {self.device}, "
                f"got {part.dtype} {[*part.shape]} on {part.device}"
            )

    def _takes(self, dtype: torch.dtype) -> bool:
        # Under autocast a controller may put out half precision.
        return dtype == self.dtype or (
            dtype.is_floating_point
            and self.dtype.is_floating_point
            and torch.is_autocast_enabled(self.device.type)
        )


class TuplePart(NamedTuple):
    """What a tuple of parts looks like."""

    kind: type
    names: tuple[str, ...]
    parts: tuple[Any, ...]

    def check(self, name: str, part: Any, sizes: dict[str, int]) -> None:
        if not isinstance(part, self.kind) or len(part) != len(self.parts):
            raise ShapeError(
                f"{name}: expected {self.kind.__name__} of {len(self.parts)}, "
                f"got {type(part).__name__}"
            )
        for field, given, expected in zip(self.names, part, self.parts, strict=True):
            if expected is not None:
                expected.check(f"{name}{field}", given, sizes)


class Expected(NamedTuple):
    """Of the states of a cell."""

    reads: TensorPart
    controller: Any
    memory: Any  # None where the memory checks them itself
    of: tuple[Any, ...]  # the controller, memory, dtype and device that it holds for


_EXPECTED: WeakKeyDictionary[Any, Expected] = WeakKeyDictionary()


def check_cell_state(cell: Any, state: Any, batch_size: int, *, whole: bool) -> None:
    """Checks the parts of a state against those that a cell's initial states have.

    Args:
        cell: a `MemoryCell`, whose state it is to be.
        state: a `CellState`.
        batch_size: B of the inputs.
        whole: whether to call the memory's own method `check_state`, too. Its step does so anyway.

    Raises:
        ShapeError: naming the part, what was expected and what was given.
        StaleStateError: the state was consumed.

    Cost: a few comparisons a tensor.
    """
    if torch.compiler.is_compiling():
        return  # what is traced is guarded by the shapes it was traced with
    like = cell.interface.linear.weight
    expected = _EXPECTED.get(cell)
    of: Any = cell.controller, cell.memory, like.dtype, like.device
    if expected is None or not (of[0] is expected.of[0] and of[1:] == expected.of[1:]):
        expected = _EXPECTED[cell] = _expected(cell.read_size, *of)
    sizes = {"B": batch_size}
    expected.reads.check("state.reads", state.reads, sizes)
    if expected.controller is not None:
        expected.controller.check("state.controller", state.controller, sizes)
    if expected.memory is not None:
        expected.memory.check("state.memory", state.memory, sizes)
    elif whole:
        memory: Any = cell.memory
        memory.check_state(state.memory, state.reads)


def _expected(
    read_size: int, controller: Any, memory: Any, dtype: torch.dtype, device: torch.device
) -> Expected:
    asked = hasattr(memory, "check_state")
    return Expected(
        TensorPart(("B", read_size), dtype, device),
        _part(*_starts(controller, dtype, device), device),
        None if asked else _part(*_starts(memory, dtype, device), device),
        (controller, memory, dtype, device),
    )


def _starts(part: Any, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any, Any]:
    """Initial states of 2 batch rows, of 3, and of 2 with a memory that has grown by a word."""
    try:
        # Takes no space and no time.
        return _starts_on(part, dtype, torch.device("meta"))
    except (RuntimeError, TypeError):
        # A part of somebody else's, which looks at values.
        return _starts_on(part, dtype, device)


def _starts_on(part: Any, dtype: torch.dtype, device: torch.device) -> tuple[Any, Any, Any]:
    with torch.no_grad():
        few, more = (part.initial_state(size, device=device, dtype=dtype) for size in (2, 3))
        grown, size = few, getattr(part, "memory_size", None)
        if hasattr(few, "resize") and isinstance(size, int):
            try:
                grown = few.resize(size + 1)
            except ConfigError:
                grown = few
    return few, more, grown


def _part(few: Any, more: Any, grown: Any, device: torch.device) -> Any:
    """What such states look like; None for what is neither tensor nor tuple."""
    if isinstance(few, Tensor):
        shape = tuple(
            "B" if a != b else "N" if a != c else (a or None)
            for a, b, c in zip(few.shape, more.shape, grown.shape, strict=True)
        )
        return TensorPart(shape, few.dtype, device if few.is_meta else few.device)
    if isinstance(few, tuple):
        fields = getattr(few, "_fields", None)
        names = [f".{name}" for name in fields] if fields else [f"[{i}]" for i in range(len(few))]
        parts = (_part(*each, device) for each in zip(few, more, grown, strict=True))
        return TuplePart(type(few), tuple(names), tuple(parts))
    return None
