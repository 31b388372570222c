"""What is saved of an index that keeps the words itself, and how it comes back.

A file of an index has the rows as they lie in memory, so that they can be mapped, and what the
backend keeps beside them. A pickle, and the file of a state that the index is part of, have only
the words in use. The index is a `StoredIndex` everywhere here.
"""

from typing import Any

import torch
from torch import Tensor

from index import checks
from index.checks import is_finite
from index.config import IndexConfig
from index.contents import Contents
from index.errors import FileFormatError
from index.pages import zeros
from index.scan import rounded_up
from index.storage import ByteStorage
from index.vector_index import VectorIndex

_SIZES = ("batch_size", "capacity", "word_size")


def content(index: Any) -> dict[str, Tensor]:
    """What a pickle holds, or the file of a state that the index is part of."""
    used = slice(1, 1 + index._in_use)
    # The words as they are scaled: scaled again they could differ in the last digit.
    return {"words": index._words[:, used]} | _occupied(index)


def file_content(index: Any) -> dict[str, Tensor]:
    """What a file of the index alone holds."""
    held = slice(0, 1 + rounded_up(index._in_use))
    free = index._penalty[:, held] != 0
    rows = index._words[:, held].masked_fill(free.unsqueeze(2), 0)
    rows[:, 0] = 0  # what was written to slot -1
    tables = {f"tables.{name}": part for name, part in index._table_content().items()}
    return {"rows": rows} | _occupied(index) | tables


def _occupied(index: Any) -> dict[str, Tensor]:
    occupied = index._penalty[:, 1 : 1 + index._in_use] == 0
    return {"occupied": occupied, "occupancy": occupied.sum(1)}


def restore(index: Any, given: Contents) -> None:
    """Fills an empty index from either."""
    occupied = given.tensor("occupied", (index.batch_size, None), torch.bool)
    count = occupied.shape[1]
    # Also without any word it holds a number for each memory, so that B is backed by bytes.
    occupancy = given.integers("occupancy", (index.batch_size,), 0, 1 + count)
    if count > index.capacity or not torch.equal(occupancy, occupied.sum(1)):
        raise given.refuse("occupied", "as many slots as it says", f"{int(occupied.sum())}")
    if given.peek("rows") is None:  # a pickle, a state, or a file of version 1
        words = _kept(given, "words", index, count)
        index._grow(count)
        words = words.masked_fill(~occupied.unsqueeze(2), 0)
        index._words[:, 1 : 1 + count] = words.to(index.device)
    else:
        _take_rows(index, given, occupied)
    index._penalty[:, 1 : 1 + count].masked_fill_(occupied.to(index.device), 0.0)
    index._in_use = count
    tables = given.under("tables")
    if tables.names():
        index._restore_table(tables)
    else:
        index._restore_tables()


def _take_rows(index: Any, given: Contents, occupied: Tensor) -> None:
    """Copies the rows of a file, or keeps them if they are mapped."""
    rows = _kept(given, "rows", index, None)
    count, room = occupied.shape[1], rows.shape[1] - 1
    if room < count:
        raise given.refuse("rows", f"room for {count} slots", f"{[*rows.shape]}")
    held = rows[:, 1 : 1 + count]
    spoiled = rows[:, :1].any() or rows[:, 1 + count :].any()
    if spoiled or (not occupied.all() and held[~occupied].any()):
        raise given.refuse("rows", "zeros where there is no word", "others")
    if given.mapped and index.device.type == "cpu" and room == rounded_up(count) > 0:
        penalty = zeros((index.batch_size, 1 + room), index.dtype, index.device)
        index._hold(rows, penalty.fill_(-torch.inf))
    else:
        index._grow(count)
        index._words[:, 1 : 1 + count] = held.to(index.device)


def _kept(given: Contents, name: str, index: Any, count: int | None) -> Tensor:
    """What a file has of words, [B, count, width], for an index that keeps them in the same way."""
    storage = index._storage
    kept = given.finite(name, (index.batch_size, count, storage.width), storage.kept)
    if isinstance(storage, ByteStorage) and not is_finite(storage.scales(kept)):
        raise given.refuse(name, "finite scales", "NaN or infinity")
    return kept


def pickled(index: Any) -> dict[str, Any]:
    """The state of a pickle."""
    # Plain types and tensors, so that `torch.load` takes it with `weights_only=True`.
    state = index.content() | {"config": index.config.settings(), "promised": index._promised or 0}
    return state | {"words": state["words"].clone()}  # or all the room would be pickled


def unpickle(index: Any, state: dict[str, Any]) -> None:
    """Fills a new object from it."""
    if not isinstance(state, dict) or not all(isinstance(name, str) for name in state):
        raise FileFormatError(f"pickled index: expected a dict, got {type(state).__name__}")
    tensors = {name: part for name, part in state.items() if isinstance(part, Tensor)}
    given = Contents("pickled index", tensors, {k: state[k] for k in state if k not in tensors})
    try:
        _set(index, given)
    except FileFormatError:
        raise
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        text = (str(error).splitlines() or [type(error).__name__])[0]
        raise given.refuse("config", "settings of an index", text) from error


def _set(index: Any, given: Contents) -> None:
    least = {"batch_size": 0}  # of no memories
    sizes: dict[str, Any] = {
        name: given.number(name, least.get(name, 1), checks.MOST_SLOTS) for name in _SIZES
    }
    given.tensor("occupancy", (sizes["batch_size"],), torch.int64)  # before B makes tensors
    words = given.tensor("words", (sizes["batch_size"], None, None), None)
    dtype = {"float32": torch.float32, "float64": torch.float64}.get(given.setting("dtype", str))
    if dtype is None:
        raise given.refuse("dtype", "float32 or float64", "another")
    if not given.setting("batched", bool, default=True):
        sizes["batch_size"] = None
    config = IndexConfig.from_settings(given.setting("config", dict))
    # Not the constructor of a backend, which may warn: what it makes is made by `_build`.
    VectorIndex.__init__(index, config, **sizes, device=words.device, dtype=dtype)
    if not index.batched:
        given.same("batch_size", 1)
    restore(index, given)
    if promised := given.number("promised", 0, index.capacity):
        index.reserve(promised)
    given.finish()
