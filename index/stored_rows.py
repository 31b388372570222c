"""Memories of an index that keeps the words itself: picked, joined, and put in the place of others.

Words and settings go along, and what searches have shown about recall. Tables that a backend has
beside the words are its own affair: see `_take_tables` and `_put_tables` of `StoredIndex`. The
index is a `StoredIndex` everywhere here.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from index.errors import ShapeError
from index.metric import full_width
from index.vector_index import VectorIndex, settings_of


def row_kind(index: Any) -> dict[str, Any]:
    """What the indexes of states that are joined have in common."""
    settings = settings_of(index) | {"kind": type(index).__name__, "device": index.device}
    return {name: value for name, value in settings.items() if name != "batch_size"}


def rows(index: Any, picked: Tensor, slot_bound: int | None = None) -> Any:
    """An independent index of some memories.

    Args:
        index: with a batch dimension; stays as it is.
        picked: memories, int64 [n], any of them repeatedly.
        slot_bound: promise that none of them has a word from this slot on.

    Cost: O(words), and what making the tables of the backend takes, when they are next used.
    """
    _check_batched(index)
    used = index._in_use if slot_bound is None else min(index._in_use, slot_bound)
    other = _empty(index, len(picked))
    _grow(other, used)
    _put_words(other, torch.arange(len(picked), device=index.device), index, picked)
    other._take_tables([(index, picked)])
    return other


def cat(indexes: Sequence[Any]) -> Any:
    """An independent index of the memories of several with equal settings."""
    for index in indexes:
        _check_batched(index)
    joined = _empty(indexes[0], sum(index.batch_size for index in indexes))
    _grow(joined, max(index._in_use for index in indexes))
    start, parts = 0, []
    for index in indexes:
        every = torch.arange(index.batch_size, device=index.device)
        _put_words(joined, every + start, index, every)
        start += index.batch_size
        parts.append((index, every))
    joined._take_tables(parts)
    return joined


def put(index: Any, picked: Tensor, other: Any) -> None:
    """Puts the memories of another index in the place of some, in place.

    Args:
        index: with a batch dimension.
        picked: memories, int64 [n], each once.
        other: of n memories with equal settings; stays as it is.
    """
    _check_batched(index)
    _grow(index, other._in_use)
    every = torch.arange(len(picked), device=index.device)
    _put_words(index, picked, other, every)
    with full_width(index.device):
        index._put_tables(picked, other)


def _check_batched(index: Any) -> None:
    if not index.batched:
        raise ShapeError("rows: expected an index with a batch dimension, got one without")


def _empty(index: Any, batch_size: int) -> Any:
    """An empty index with the same settings, for so many memories."""
    other = object.__new__(type(index))
    sizes: dict[str, Any] = {"batch_size": batch_size, "capacity": index.capacity}
    kind: dict[str, Any] = {"device": index.device, "dtype": index.dtype}
    # Not the constructor of a backend, which may warn: what it makes is made by `_build`.
    VectorIndex.__init__(other, index.config, word_size=index.word_size, **sizes, **kind)
    other._tuner = copy.deepcopy(index._tuner)
    return other


def _grow(index: Any, slots: int) -> None:
    if slots > index._in_use:
        index._grow(slots)
        index._in_use = slots


def _put_words(into: Any, memories_into: Tensor, index: Any, memories: Tensor) -> None:
    """Copies the words of some memories over those of another index with as much room."""
    used = min(index._in_use, into._in_use)
    for name, free in (("_words", 0.0), ("_penalty", -torch.inf)):
        held, given = getattr(into, name)[:, 1:], getattr(index, name)[:, 1 : 1 + used]
        held[:, :used].index_copy_(0, memories_into, given.index_select(0, memories))
        held[:, used:].index_fill_(0, memories_into, free)
