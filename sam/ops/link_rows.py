"""Batch rows of temporal links: picked, joined, and put in the place of others.

A place in a table is row K_L + column, and its row (2 + slot) B + b, so it depends on how many
memories there are and which of them it is. What is copied goes by the place within one memory,
(2 + slot) K_L + column. The table is a `LinkTable` everywhere here.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from sam.store.initial_words import room_for

_SIDES = "incoming", "outgoing"


def row_kind(table: Any) -> dict[str, Any]:
    """What the tables of states that are joined have in common."""
    values = table.values
    sizes = {"memory_size": table.memory_size, "links a word": table.num_links}
    return {**sizes, "dtype": values.dtype, "device": values.device}


def rows(table: Any, picked: Tensor, slot_bound: int | None = None) -> Any:
    """An independent table of some memories; no slot from `slot_bound` on has a link of theirs."""
    room = table.capacity
    if slot_bound is not None:
        room = min(room, room_for(table.memory_size, slot_bound))
    other = _empty(table, len(picked), room)
    _copy(other, torch.arange(len(picked), device=picked.device), table, picked)
    return other


def cat(tables: Sequence[Any]) -> Any:
    """An independent table of the memories of several."""
    total, room = sum(t.batch_size for t in tables), max(t.capacity for t in tables)
    joined, start = _empty(tables[0], total, room), 0
    for table in tables:
        every = torch.arange(table.batch_size, device=table.values.device)
        _copy(joined, every + start, table, every)
        start += table.batch_size
    return joined


def put(table: Any, picked: Tensor, other: Any) -> None:
    """Puts the memories of another table in the place of some, in place."""
    table.reserve(other.capacity)
    _copy(table, picked, other, torch.arange(len(picked), device=picked.device))


def _empty(table: Any, batch_size: int, room: int) -> Any:
    """A table without links, with space for some slots of so many memories."""
    like, device = table.values, table.values.device
    sizes = batch_size, table.memory_size, table.num_links
    other = type(table)(*sizes, device=device, dtype=like.dtype)
    other.reserve(room)
    return other


def _copy(into: Any, rows_into: Tensor, source: Any, rows_from: Tensor) -> None:
    """Copies memories of one table over those of another that has space for all their links."""
    count, room = into.num_links, 2 + min(source.capacity, into.capacity)
    for name in ("values", *_SIDES):
        part = _by_memory(source, name)[2:room].index_select(1, rows_from)
        if name in _SIDES:
            slots = part.div(source.batch_size * count, rounding_mode="floor")
            row = (slots * into.batch_size + rows_into.unsqueeze(1)) * count
            part = torch.where(part > 0, row + part.remainder(count), 0)
        held = _by_memory(into, name)
        held[2:room].index_copy_(1, rows_into, part)
        held[room:].index_fill_(1, rows_into, 0)


def _by_memory(table: Any, name: str) -> Tensor:
    """A view [2 + C, B, K_L]."""
    shape = (2 + table.capacity, table.batch_size, table.num_links)
    return getattr(table, name).view(shape)
