"""Batch rows of word stores: picked, joined, and put in the place of others, with their gradients.

Rows are copied from one buffer to another. In the backward pass their G = dL/dM goes the other way:
what is left of it where they were put is added where they came from, and is zero from there on,
since it was the copies that were seen. The store is a `WordStore` everywhere here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam.errors import ShapeError
from sam.once_differentiable import once_differentiable
from sam.store.buffer import Buffer
from sam.store.gradient_tape import Tape, enter_backward, finish_node, grad_rows, record_node
from sam.store.initial_words import room_for


def row_kind(store: Any) -> dict[str, Any]:
    """What the stores of states that are joined have in common.

    Raises:
        StaleStateError: the handle was consumed.
    """
    store.check()
    rows = store.buffer.rows
    sizes = {"memory_size": store.memory_size, "word_size": store.word_size}
    return {**sizes, "dtype": rows.dtype, "device": rows.device}


def rows(store: Any, picked: Tensor, slot_bound: int | None = None) -> Any:
    """A store with copies of some memories; gradients of both flow into the common past.

    Args:
        store: a handle, which stays good.
        picked: batch rows, int64 [n].
        slot_bound: promise that none of them has a word from this slot on.

    Cost: O(n C W), with C at most twice the bound.
    """
    store.check()
    held = store.buffer.rows
    if slot_bound is not None:
        held = held[: 1 + room_for(store.memory_size, slot_bound)]
    other = _store_of(store, held.index_select(1, picked))
    _link(other, torch.arange(len(picked), device=picked.device), store, picked)
    return other


def cat(stores: Sequence[Any]) -> Any:
    """A store with copies of the memories of several; gradients flow back to all of them."""
    first, total = stores[0], sum(store.batch_size for store in stores)
    for store in stores:
        store.check()
    capacity = max(store.capacity for store in stores)
    held = first.buffer.rows.new_zeros(1 + capacity, total, first.word_size)
    joined, start = _store_of(first, held), 0
    for store in stores:
        count = store.batch_size
        held[: 1 + store.capacity, start : start + count] = store.buffer.rows
        every = torch.arange(count, device=held.device)
        _link(joined, every + start, store, every)
        start += count
    return joined


def put(store: Any, picked: Tensor, other: Any) -> Any:
    """The next handle, with copies of the memories of another store in the place of some.

    Args:
        store: a handle, which is consumed.
        picked: batch rows, int64 [n], each once.
        other: a handle on n memories of other words, which stays good.

    Raises:
        ShapeError: both are handles on the same words.
    """
    store.check()
    other.check()
    buffer, words = store.buffer, other.buffer.rows
    if other.buffer is buffer:
        raise ShapeError("other: expected another state, got this one; rows() and clone() copy")
    tape, token = store.graph()
    with buffer.changing():
        if other.capacity > store.capacity:
            buffer.grow(other.capacity, store.memory_size)
        buffer.rows[: len(words)].index_copy_(1, picked, words)
        buffer.rows[len(words) :].index_fill_(1, picked, 0.0)
    after = store.advance(tape, token)
    _link(after, picked, other, torch.arange(len(picked), device=picked.device))
    return after


def _store_of(store: Any, held: Tensor) -> Any:
    """A store like this one on other words, without a past."""
    other = object.__new__(type(store))
    other._set(Buffer(held), store.memory_size, None, None, None)
    return other


def _link(into: Any, rows_into: Tensor, source: Any, rows_from: Tensor) -> None:
    """Lets gradients flow from memories of one store to those of another they were copied from.

    Both handles stay good; what follows them comes after the copy.
    """
    if not torch.is_grad_enabled() or (into._tape is None and source._tape is None):
        return
    if into._tape is None:
        into._tape = Tape(into.buffer)
        into._token = into.buffer.rows.new_zeros((), requires_grad=True)
    held = 1 + min(into.capacity, source.capacity)
    slots = torch.arange(held, device=rows_into.device).unsqueeze(1)
    flat = (
        (slots * store.batch_size + rows).view(-1)
        for store, rows in ((into, rows_into), (source, rows_from))
    )
    mask = torch.zeros(into.batch_size, dtype=torch.bool, device=rows_into.device)
    mask[rows_into] = True
    given = into._token, source._token, into._tape, source._tape
    into._token, after = _Copy.apply(*given, *flat, mask)  # type: ignore[misc]
    if source._tape is not None:
        source._token = after


class _Copy(torch.autograd.Function):
    """Some memories of one store are from here on copies of those of another."""

    @staticmethod
    def forward(
        ctx: Any,
        token: Tensor,
        source_token: Tensor | None,
        tape: Tape,
        source: Tape | None,
        rows: Tensor,
        source_rows: Tensor,
        mask: Tensor,
    ) -> tuple[Tensor, Tensor]:
        # All of them, touched or not: the source may be a copy itself.
        record_node(ctx, tape, (rows,), source_rows, mask)
        ctx.source, ctx.source_start = source, 0
        if source is not None:
            ctx.source_start = source.touched.record((source_rows,))[0]
        return token.new_empty(()), token.new_empty(())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_token: Tensor | None, grad_source: Tensor | None) -> Any:  # type: ignore[override]
        enter_backward(ctx)
        if ctx.tape.grad is not None:  # else nothing of it was read
            rows, source_rows, mask = ctx.saved_tensors
            if ctx.source is not None:
                ctx.source.enter()
                grad = ctx.tape.begin()[0].index_select(0, grad_rows(ctx, 0, rows))
                places = ctx.source.begin()[1].places
                if places is not None:
                    source_rows = places.narrow(0, ctx.source_start, len(source_rows))
                ctx.source.add(source_rows, grad)
            ctx.tape.clear_batch(mask)
        finish_node(ctx)
        return grad_token, grad_source, None, None, None, None, None
