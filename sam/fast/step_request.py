"""What compiled steps of SAM are given, and what each of them does around its compiled calls."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from index import VectorIndex
from sam.errors import ShapeError
from sam.fast.array_views import ArrayViews, views_for_step
from sam.fast.loops.kernel_arrays import NOT_FINITE, OUTSIDE, KernelParams
from sam.memory.sam import SAMMemory
from sam.memory.sam_state import SAMState
from sam.memory.sdnc import SDNCMemory, SDNCState
from sam.ops.similarity import EPS
from sam.ops.sparse import SparseWeights
from sam.ops.sparse_links import SparseLinks
from sam.store.access_order import AccessOrder
from sam.store.word_store import WordStore

NO_MASK = np.ones(0, dtype=bool)  # every row takes the step


class StepRequest(NamedTuple):
    """What a step or a sequence works on, beside the tensors that get gradients.

    The memory is changed in place.
    """

    store: WordStore
    order: AccessOrder
    word_index: VectorIndex
    slots: Tensor  # of w^R_{t-1}, int64 [B, H, K]
    write: SparseWeights  # w^W_{t-1}; what a row that waits keeps
    threshold: float  # delta
    min_strength: float  # of the strengths' activation
    links: SparseLinks | None = None  # of an SDNC
    sharpening: float = 0.0  # what its read weights are sharpened by, 0 for nothing
    active: Tensor | None = None  # rows that take the step, bool [B]; None is all
    lengths: Tensor | None = None  # steps of each row of a sequence, int64 [B]; None is all
    starts: Tensor | None = None  # rows that begin anew before a step of a sequence, bool [T, B]


def request_for(
    memory: SAMMemory | SDNCMemory, state: SAMState | SDNCState, **rows: Tensor | None
) -> StepRequest:
    """What to do with a memory's state; `rows` are `active`, or `lengths` and `starts`."""
    return StepRequest(
        state.words,
        state.order,
        state.index,
        state.read_weights.slots,
        state.write_weights,
        memory.access_threshold,
        1.0 if memory.strength == "oneplus" else 0.0,
        state.links if isinstance(state, SDNCState) else None,
        float(getattr(memory, "read_sharpening", None) or 0),
        **rows,
    )


def begin_step_with(
    request: StepRequest,
    begin: Callable[[ArrayViews, KernelParams], tuple[int, int]],
    dtype: torch.dtype,
    controls: Any,
    write_slots: Any,
    accesses: int,
) -> tuple[ArrayViews, KernelParams]:
    """Begins a step, again after each sort of the order that it stops for.

    Args:
        request: the memory and settings.
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
    order, clock, size = request.order, request.order.clock, request.store.memory_size
    views = views_for_step(request.store, order, request.word_index, dtype)
    params = KernelParams(size, clock, request.threshold, request.min_strength, EPS)
    views.begin_step(request.write.slots[0].numel())
    views.claim(request.store, clock, NO_MASK if request.active is None else request.active.numpy())
    why, high = begin(views, params)
    while why >= 0:
        views.sort(request.store, clock, why)
        why, high = begin(views, params)
    if why == OUTSIDE:
        raise slot_range_error(views)
    if why == NOT_FINITE:
        raise views.refuse(controls, write_slots, 0)
    order.commit_steps(clock + accesses, high=high)
    views.end_step()
    return views, params


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
    request: StepRequest, keys: Tensor, write_slots: Tensor, slots: Any, cosine: Any
) -> None:
    """Tells an index what was written and asks it for the words to read.

    Args:
        request: the memory.
        keys: q, [B, H, W].
        write_slots: where was written, [B, V, J].
        slots, cosine: arrays for what was found, [B, H, K].
    """
    written, bound = write_slots.flatten(1), request.order.slot_bound
    if request.active is not None:
        written = written.masked_fill(~request.active[:, None], -1)
    words = request.store.peek(written, slot_bound=bound)
    told: Any = request.word_index, request.store.buffer, written, words, keys, slots.shape[2]
    near = request.order.exchange(*told, slot_bound=bound)
    slots[...], cosine[...] = near.slots.numpy(), near.scores.numpy()
