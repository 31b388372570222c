"""What a compiled step of SAM is given, and what each of them does around its compiled calls."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from index import VectorIndex
from sam.errors import ShapeError
from sam.fast.array_views import ArrayViews, views_for_step
from sam.fast.loops.kernel_arrays import NOT_FINITE, OUTSIDE, KernelParams
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore


class StepRequest(NamedTuple):
    """What is run, beside the tensors that get gradients. The memory is changed in place."""

    store: WordStore
    order: AccessOrder
    index: VectorIndex
    slots: Tensor  # of w^R_{t-1}, int64 [B, H, K]
    write: SparseWeights  # w^W_{t-1}; what a row that waits keeps
    active: Tensor | None  # rows that take the step, bool [B]; None is all
    threshold: float  # delta
    least: float  # of the strengths' activation


def begin_step_with(
    given: StepRequest,
    begin: Callable[[ArrayViews, KernelParams], tuple[int, int]],
    dtype: torch.dtype,
    controls: Any,
    write_slots: Any,
    accesses: int,
) -> tuple[ArrayViews, KernelParams]:
    """Begins a step, again after each sort of the order that it stops for.

    Args:
        given: the memory and settings.
        begin: `begin_step`, or what begins with it; returns what that does.
        dtype: of the words.
        controls, write_slots: arrays of the step that an error is made from; keys come first.
        accesses: of a step and batch row.

    Returns:
        What `begin` was given.

    Raises:
        NonFiniteError: a word or key is NaN or infinite.
        ShapeError: a slot read at the last step is out of range.
    """
    order, clock = given.order, given.order.clock
    views = views_for_step(given.store, order, given.index, dtype)
    numbers = KernelParams(given.store.memory_size, clock, given.threshold, given.least, EPS)
    why, high = begin(views, numbers)
    while why >= 0:
        views.sort(clock, why)
        why, high = begin(views, numbers)
    if why == OUTSIDE:
        raise slot_range_error(views)
    if why == NOT_FINITE:
        raise views.refuse(controls, write_slots, 0)
    order.commit_steps(clock + accesses, high=high)
    return views, numbers


def slot_range_error(views: ArrayViews) -> ShapeError:
    """The error for slots of the state that are out of range."""
    return ShapeError(f"state.read_weights.slots: expected values in [-1, {views.room})")


def check_found_slots(right: bool, index: VectorIndex) -> None:
    """Raises ShapeError unless the slots that an index found are right."""
    if not right:
        raise ShapeError(
            f"{type(index).__name__}: expected to find slots that were handed out, got others"
        )


def query_index(
    given: StepRequest, keys: Tensor, write_slots: Tensor, slots: Any, cosine: Any, before: Tensor
) -> None:
    """Tells an index what was written and asks it for the words to read.

    Args:
        given: the memory.
        keys: q, [B, H, W].
        write_slots: where was written, [B, V, J].
        slots, cosine: arrays for what was found, [B, H, K].
        before: slots that rows keep which do not take the step, [B, H, K].
    """
    written = write_slots.flatten(1)
    if given.active is not None:
        written = written.masked_fill(~given.active[:, None], -1)
    given.index.reserve(given.order.high)
    words = given.store.peek(written, below=given.order.high)
    near = given.index.exchange(written, words, keys, slots.shape[2])
    found, scores = near.slots, near.scores
    if given.active is not None:
        mask = given.active[:, None, None]
        found = torch.where(mask, found, before)
        scores = torch.where(mask, scores, 0.0)
    slots[...] = found.numpy()
    cosine[...] = scores.numpy()
