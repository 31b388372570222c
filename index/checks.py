"""Checks of the arguments of an index, shared by every backend.

On the CPU a wrong value raises at once. On another device reading a value would wait for the
device, so values are checked there by an assertion that the device makes later.
"""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from index.errors import NonFiniteError, ShapeError
from index.given import as_int64

# The largest number of slots in a memory, and the largest other size: what is computed from them,
# such as the offset of a slot among those of all memories, must fit into an int64.
MOST_SLOTS, MOST = 2**60, 2**31 - 1
MOST_FLOAT = torch.finfo(torch.float32).max
# Up to this many slots in a row, comparing all pairs is cheaper than a sort, in time and in bytes.
PAIRS_UP_TO = 64
_INTEGERS = (
    *(torch.int64, torch.int32, torch.int16, torch.int8),
    *(torch.uint64, torch.uint32, torch.uint16, torch.uint8),
)


def check_at_least(
    name: str,
    value: Any,
    least: int = 1,
    most: int = MOST,
    error: type[ValueError] = ValueError,
) -> int:
    """Returns `value` as an int if it is an integer in [least, most], one of NumPy included.

    Raises:
        ValueError: `error`; it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise error(f"{name}: expected an integer of at least {least}, got {value!r}")
    if value > most:
        raise error(f"{name}: expected at most {most}, got {value}")
    return int(value)


def check_rows(rows: Tensor, batch_size: int, device: torch.device) -> None:
    """Raises ShapeError unless `rows` is bool [B] on `device`."""
    if rows.dtype != torch.bool or rows.shape != (batch_size,):
        raise ShapeError(f"rows: expected bool [B={batch_size}], got {rows.dtype} {[*rows.shape]}")
    _check_device("rows", rows, device)


def check_slot_tensor(slots: Tensor, batch_size: int | None, device: torch.device) -> Tensor:
    """Checks shape, dtype and device of slots, not their values.

    Args:
        slots: integers [B, M], or [M] if there is no batch dimension.
        batch_size: B, or None without a batch dimension.
        device: of the index.

    Returns:
        The slots as int64 [B, M].

    Raises:
        ShapeError: they are not as said.
    """
    if batch_size is None:
        if slots.dim() != 1:
            raise ShapeError(f"slots: expected shape [M], got {[*slots.shape]}")
    elif slots.dim() != 2 or slots.shape[0] != batch_size:
        raise ShapeError(f"slots: expected shape [B={batch_size}, M], got {[*slots.shape]}")
    if slots.dtype not in _INTEGERS:
        raise ShapeError(f"slots: expected an integer dtype, got {slots.dtype}")
    _check_device("slots", slots, device)
    return as_int64(slots if batch_size is not None else slots.unsqueeze(0))


def check_vectors(
    name: str, vectors: Tensor, shape: tuple[int | None, int | None, int], like: Tensor
) -> Tensor:
    """Checks words or queries and returns them detached, in the dtype of the index.

    Args:
        name: the argument's name, for the message.
        vectors: floating point or integers, [B, M, W]; without a batch dimension [M, W], and also
            [W] for queries.
        shape: B, M and W; no batch dimension if B is None, any number of vectors if M is None.
        like: a tensor with the dtype and device of the index.

    Returns:
        [B, M, W].

    Raises:
        ShapeError: shape, dtype or device is not as said.
        NonFiniteError: a value is NaN or infinite, or becomes so in the dtype of the index.
    """
    batch, count, width = shape
    given = vectors.shape
    if batch is not None:
        fits = len(given) == 3 and given == (batch, given[1] if count is None else count, width)
        missing = 0
    else:
        fits = len(given) == 2 and given == (given[0] if count is None else count, width)
        fits = fits or (name == "queries" and given == (width,))
        missing = 3 - len(given)
    if not fits:
        raise ShapeError(f"{name}: expected shape {_expected(name, shape)}, got {[*given]}")
    if vectors.dtype == torch.bool or vectors.is_complex():
        raise ShapeError(f"{name}: expected floating point or integers, got {vectors.dtype}")
    _check_device(name, vectors, like.device)
    vectors = vectors.detach()
    if vectors.dtype != like.dtype:
        vectors = vectors.to(like.dtype)
    _check_finite(name, vectors)
    return vectors[(None,) * missing] if missing else vectors


def _expected(name: str, shape: tuple[int | None, int | None, int]) -> str:
    """The shape of words or queries, for a message."""
    batch, count, width = shape
    letter = ("Q" if name == "queries" else "M") + ("" if count is None else f"={count}")
    if batch is not None:
        return f"[B={batch}, {letter}, W={width}]"
    alone = f" or [W={width}]" if name == "queries" else ""
    return f"[{letter}, W={width}]{alone}"


def check_slot_values(slots: Tensor, limit: int, *, look: bool) -> int:
    """Checks -1 <= slot < `limit`, of int64 [B, M].

    Args:
        look: read the values, which waits for the device; otherwise the device asserts.

    Returns:
        The highest slot, or `limit` - 1 if the values were not read.

    Raises:
        ValueError: a slot is out of range.
    """
    if not look:
        inside = ((slots >= -1) & (slots < limit)).all()
        assert_later(inside, f"slots: expected -1 (skipped) or 0 .. {limit - 1}")
        return limit - 1
    if slots.numel() == 0:
        return -1
    low, high = (int(bound) for bound in slots.aminmax())
    if low < -1 or high >= limit:
        wrong = low if low < -1 else high
        raise ValueError(f"slots: expected -1 (skipped) or 0 .. {limit - 1}, got {wrong}")
    return high


def keep_last(slots: Tensor) -> Tensor:
    """Replaces by -1 each slot of int64 [B, M] that comes again later in its row.

    Cost: O(B M^2) for few slots, O(B M log M) for many.
    """
    if slots.shape[1] <= PAIRS_UP_TO:
        same = slots.unsqueeze(2) == slots.unsqueeze(1)
        return slots.masked_fill(same.triu(1).any(-1), -1)
    # A stable sort leaves equal slots in the order they came: all but the last of a run go.
    ordered, order = slots.sort(dim=1, stable=True)
    repeated = torch.zeros_like(ordered, dtype=torch.bool)
    repeated[:, :-1] = ordered[:, 1:] == ordered[:, :-1]
    return ordered.masked_fill_(repeated, -1).gather(1, order.argsort(1))


def _check_device(name: str, tensor: Tensor, device: torch.device) -> None:
    if tensor.device != device:
        raise ShapeError(f"{name}: expected device {device}, got {tensor.device}")


def assert_later(condition: Tensor, message: str) -> None:
    """Has the device assert the condition later; waits for nothing."""
    # A private name of torch: there is no public one. Without it the device is waited for.
    later = getattr(torch, "_assert_async", None)
    if later is not None:
        later(condition, message)
    elif not bool(condition):
        raise RuntimeError(message)


def is_finite(vectors: Tensor) -> bool:
    """Whether all numbers of a tensor are finite; waits for the device."""
    # One sum shows every NaN and infinity. It may also overflow: then each number is looked at.
    return math.isfinite(vectors.sum().item()) or bool(vectors.isfinite().all())


def check_finite_together(words: Tensor, queries: Tensor) -> None:
    """Raises NonFiniteError unless words and queries are finite; one look for both."""
    if words.device.type != "cpu" or not math.isfinite((words.sum() + queries.sum()).item()):
        _check_finite("words", words)
        _check_finite("queries", queries)


def _check_finite(name: str, vectors: Tensor) -> None:
    if vectors.device.type != "cpu":
        assert_later(vectors.isfinite().all(), f"{name}: expected finite values")
    elif not is_finite(vectors):
        wrong = (~vectors.isfinite()).nonzero()[0].tolist()
        value = vectors[tuple(wrong)].item()
        raise NonFiniteError(f"{name}: expected finite values, got {value} at {wrong}")
