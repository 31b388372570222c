"""Memories of a layered index: picked, joined, and put in the place of others.

The base is shared by all of them. The index is a `LayeredIndex` everywhere here.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from index.base.slot_map import SlotMap
from index.base.whole_exchange import WholeExchange
from index.errors import ShapeError
from index.vector_index import settings_of


def row_kind(index: Any) -> dict[str, Any]:
    """What the indexes of states that are joined have in common."""
    settings = settings_of(index) | {"kind": type(index).__name__, "device": index.device}
    settings["base"] = index.base.identity
    return {name: value for name, value in settings.items() if name != "batch_size"}


def rows(index: Any, picked: Tensor, slot_bound: int | None = None) -> Any:
    """An independent index of some memories.

    Args:
        index: with a batch dimension; stays as it is.
        picked: memories, int64 [n], any of them repeatedly.
        slot_bound: has no meaning here, as room follows what was written.

    Cost: O(words written).
    """
    _check_batched(index)
    return _with(
        index,
        index._overlay.rows(picked),
        index._map.written().index_select(0, picked),
        index._hides_all.index_select(0, picked),
    )


def cat(indexes: Sequence[Any]) -> Any:
    """An independent index of the memories of several with equal settings and one base."""
    for index in indexes:
        _check_batched(index)
    written = [index._map.written() for index in indexes]
    most = max(part.shape[1] for part in written)
    padded = [functional.pad(part, (0, most - part.shape[1]), value=-1) for part in written]
    joined = _with(
        indexes[0],
        indexes[0]._overlay.cat([index._overlay for index in indexes]),
        torch.cat(padded),
        torch.cat([index._hides_all for index in indexes]),
    )
    joined._in_use = max(index._in_use for index in indexes)
    return joined


def put(index: Any, picked: Tensor, other: Any) -> None:
    """Puts the memories of another index in the place of some, in place.

    Args:
        index: with a batch dimension.
        picked: memories, int64 [n], each once.
        other: of n memories with equal settings and the same base; stays as it is.
    """
    _check_batched(index)
    mine, given = index._map.written(), other._map.written()
    most = max(mine.shape[1], given.shape[1])
    mine = functional.pad(mine, (0, most - mine.shape[1]), value=-1)
    mine[picked] = functional.pad(given, (0, most - given.shape[1]), value=-1)
    index._overlay.put(picked, other._overlay)
    index._map = SlotMap.of(mine)
    index._recount()
    index._hides_all[picked] = other._hides_all
    index._in_use = max(index._in_use, other._in_use)


def _with(index: Any, overlay: Any, written: Tensor, hides_all: Tensor) -> Any:
    """An index like another one with these memories."""
    other = copy.copy(index)
    other.batch_size, other._promised = len(hides_all), None
    other._overlay, other._hides_all = overlay, hides_all.clone()
    other._map, other._whole = SlotMap.of(written), WholeExchange()
    other._recount()
    return other


def _check_batched(index: Any) -> None:
    if not index.batched:
        raise ShapeError("rows: expected an index with a batch dimension, got one without")
