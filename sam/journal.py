"""A journal of the steps that a state has taken, from which any of its past states comes back.

A sparse memory is changed in place, so the state before a step is gone after it. To keep a copy of
each would take the bytes of all words, step by step. A journal keeps the state that it began with,
once, and of each step what that changed: a few words, their slots, and the small tensors that are
new at every step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

from sam import state as states
from sam import state_rows
from sam.errors import ConfigError
from sam.memory.step_journal import (
    SparseStep,
    TakenStep,
    begin_note,
    compact,
    has_steps_noted,
    note_step,
    reads_after,
    redo_steps,
)
from sam.ops.sparse import SparseWeights
from sam.store.companions import is_same, join


class SmallParts(NamedTuple):
    """What of a state is new at every step, detached."""

    controller: Any
    reads: Tensor  # [B, R W]
    read_weights: SparseWeights
    write_weights: SparseWeights


class Carried(NamedTuple):
    """Of `SmallParts`, what a step's change in the memory does not tell."""

    controller: Any
    read_weights: SparseWeights
    write_weights: SparseWeights


class Step(NamedTuple):
    """One step, and what came before it since the last one."""

    resets: tuple[Tensor, ...]  # of batch rows, by `state.reset`, bool [B]
    before: SmallParts | None  # None where they are those after the last step
    starts: tuple[Tensor, ...]  # of those that began a new episode with the step, none or one
    change: SparseStep
    after: Carried


class _Opened(NamedTuple):
    """What is known of the next step before it is taken."""

    resets: tuple[Tensor, ...] = ()
    before: SmallParts | None = None
    starts: tuple[Tensor, ...] = ()
    resetting: bool = False  # whether the next reset is that of `starts`
    words: Tensor | None = None  # that the step may add to


class Journal:
    """The steps of a state since the journal began; see `CellState.record`.

    One object goes along with the states that follow one another, so a consumed one knows the same
    past. Its length is the number of steps.

    Args:
        state: a `CellState` to begin with; its memory is copied.

    Raises:
        ConfigError: the memory is not a sparse one.
        StaleStateError: the state was consumed.
    """

    __slots__ = ("_known", "_next", "_start", "_steps")

    def __init__(self, state: Any) -> None:
        if not has_steps_noted(state.memory):
            raise ConfigError(
                "record: expected the state of a sparse memory (SAM, SDNC), got "
                f"{type(state.memory).__name__}; states of dense ones may be kept as they are"
            )
        self._start: tuple[Any, SmallParts] = state.memory.detach().clone(), _small_parts(state)
        self._known = _Known.of(state)
        self._steps: list[Step] = []
        self._next = _Opened()

    def __len__(self) -> int:
        return len(self._steps)

    def __repr__(self) -> str:
        return f"Journal({len(self)} steps, {self.nbytes:,} bytes)"

    @property
    def nbytes(self) -> int:
        """Bytes of all steps, and of the state that they began with."""
        return self.step_bytes + states.nbytes(self._start)

    @property
    def step_bytes(self) -> int:
        """Bytes of all steps."""
        return states.nbytes(self._steps)

    def before(self, state: Any, starts: Tensor | None = None) -> None:
        """A network is about to take a step from this state.

        Args:
            state: not yet reset.
            starts: batch rows that it will reset first, bool [B]; None if it resets none.
        """
        words = begin_note(state.memory)
        unchanged = not self._next.resets and self._known.are_those_of(state)
        before = None if unchanged else _small_parts(state)
        # Of a step it is enough to know what has changed.
        masks = (starts.clone(),) if starts is not None and bool(starts.any()) else ()
        self._next = _Opened(self._next.resets, before, masks, starts is not None, words)

    def after(self, state: Any) -> None:
        """It has taken the step to this state."""
        opened = self._next
        like = self._steps[-1].change if self._steps else None
        change = note_step(state.memory, _given(opened.words), state.reads, like)
        after = _carried(state)
        self._steps.append(Step(opened.resets, opened.before, opened.starts, change, after))
        self._known, self._next = _Known.of(state), _Opened()

    def reset(self, mask: Tensor) -> None:
        """Batch rows of the state are reset, by a call of their own or by `starts`."""
        resets, masks = self._next.resets, () if self._next.resetting else (mask.clone(),)
        self._next = self._next._replace(resets=(*resets, *masks), resetting=False)

    def parts_at(self, step: int, picked: Tensor | None) -> tuple[Any, SmallParts]:
        """The memory before a step, and the small parts; independent of the journal.

        Args:
            step: below the number of steps.
            picked: of these batch rows only, int64 [n]; None is all.
        """
        memory, small = self._start
        memory = memory.clone() if picked is None else memory.rows(picked)
        small = _rows(small, picked)
        if step:
            taken = [_taken(each) for each in self._steps[:step]]
            memory = redo_steps(memory, taken, picked)
            small = _small_after(self._steps[step - 1], memory, picked)
        last = self._steps[step]
        for mask in last.resets:
            memory = memory.reset(_rows(mask, picked))
        small = states.clone(small if last.before is None else _rows(last.before, picked))
        read, write = _weights(small)
        return join(memory._replace(read_weights=read, write_weights=write)), small

    # What a state does with its parts.

    has_rows = False

    def rows(self, picked: Tensor) -> None:
        """It is of all batch rows, so the state of some of them has none."""

    def detach(self) -> Self:
        return self

    def clone(self) -> "Journal":
        """One that goes on by itself from the same past, which both share."""
        return self._with(self._start, list(self._steps), self._next)

    def to(self, device: torch.device | str) -> "Journal":
        steps = [states.to(step, device) for step in self._steps]
        return self._with(states.to(self._start, device), steps, states.to(self._next, device))

    def __deepcopy__(self, memo: dict[int, Any]) -> "Journal":
        return self.clone()

    def _with(self, start: tuple[Any, SmallParts], steps: list[Step], opened: _Opened) -> "Journal":
        other = object.__new__(Journal)
        other._start, other._steps, other._next = start, steps, opened
        other._known = self._known
        return other


class _Known(NamedTuple):
    """The small tensors of a state, to tell whether another state has the same."""

    tensors: list[Tensor]  # without a graph
    versions: list[int]

    @classmethod
    def of(cls, state: Any) -> "_Known":
        tensors = [tensor.detach() for tensor in _tensors(state)]
        return cls(tensors, [*map(_version, tensors)])

    def are_those_of(self, state: Any) -> bool:
        """Whether a state has the same tensors, and nobody has written to them."""
        tensors = _tensors(state)
        return (
            len(tensors) == len(self.tensors)
            and all(map(is_same, tensors, self.tensors))
            and [*map(_version, tensors)] == self.versions
        )


def _taken(step: Step) -> TakenStep:
    return TakenStep((*step.resets, *step.starts), step.change, *_weights(step.after))


def _rows(part: Any, picked: Tensor | None) -> Any:
    """Batch rows of what was recorded."""
    if picked is None:
        return part
    if isinstance(part, Tensor):
        return part.index_select(0, picked)
    return state_rows.rows(part, picked)


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _tensors(state: Any) -> list[Tensor]:
    """The small tensors of a state."""
    parts = state.controller, state.reads, state.memory.read_weights, state.memory.write_weights
    return [*_leaves(parts)]


def _leaves(part: Any) -> Iterator[Tensor]:
    if isinstance(part, Tensor):
        yield part
    elif isinstance(part, tuple):
        for field in part:
            yield from _leaves(field)


def _given(words: Tensor | None) -> Tensor:
    if words is None:
        raise ConfigError("journal: expected each step to be begun before it is noted")
    return words


def _small_after(step: Step, memory: Any, picked: Tensor | None) -> SmallParts:
    """What a step has left, the memory being as it was then."""
    controller, *weights = _rows(step.after, picked)
    return SmallParts(controller, reads_after(memory, step.change, picked), *weights)


def _small_parts(state: Any) -> SmallParts:
    controller, *weights = _carried(state)
    return SmallParts(controller, state.reads.detach().clone(), *weights)


def _carried(state: Any) -> Carried:
    memory = state.memory
    weights = (
        SparseWeights(compact(of.slots, memory.words.memory_size), of.values.detach().clone())
        for of in (memory.read_weights, memory.write_weights)
    )
    (controller,) = states.clone(states.detach((state.controller,)))
    return Carried(controller, *weights)


def _weights(small: SmallParts | Carried) -> tuple[SparseWeights, SparseWeights]:
    """w^R and w^W, as a state has them."""
    read, write = small.read_weights, small.write_weights
    return SparseWeights(read.slots.long(), read.values), write._replace(slots=write.slots.long())
