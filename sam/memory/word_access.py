"""Looking at the words of a memory from outside: which are in use, and what they hold."""

from typing import Any

import torch
from torch import Tensor

from sam.errors import ShapeError


def words_in_use(state: Any) -> Tensor:
    """How many words each batch row uses, int64 [B].

    In a sparse memory those that it was loaded with or has written to, which are slots 0, 1, ...;
    those of a base are among them.
    In a dense one all N, as every step reads and writes all of them.

    Raises:
        StaleStateError: the state was consumed.
    """
    if isinstance(state.words, Tensor):
        batch_size, size = state.words.shape[:2]
        return torch.full((batch_size,), size, device=state.words.device)
    state.words.check()
    return state.order.handed_out[:, 0]


def get(state: Any, slots: Any) -> Tensor:
    """Words at slots, copied; no gradient flows back through them, and the state stays good.

    Args:
        state: of a memory.
        slots: integers in [-1, N), [n], the same of every batch row, or [B, ...]; a tensor, an
            array or a list. What is not in use and slot -1 are zeros, in a dense memory that begins
            with other numbers what it begins with.

    Returns:
        [B, n, W], or [B, ..., W].

    Raises:
        ShapeError: the slots are none such.
        StaleStateError: the state was consumed.

    Cost: O(B n W).
    """
    held = state.words if isinstance(state.words, Tensor) else state.words.words  # [B, C, W]
    size = held.shape[1] if isinstance(state.words, Tensor) else state.words.memory_size
    batch_size, room, _ = held.shape
    try:
        asked = torch.as_tensor(slots)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ShapeError(f"slots: expected integers [n] or [B, ...], got {error}") from None
    if asked.numel() == 0:
        asked = asked.long()
    expected = f"slots: expected integers in [-1, {size}), [n] or [B={batch_size}, ...]"
    integers = not (asked.is_floating_point() or asked.is_complex() or asked.dtype == torch.bool)
    if not integers or asked.dim() == 0 or (asked.dim() > 1 and len(asked) != batch_size):
        raise ShapeError(f"{expected}, got {asked.dtype} {[*asked.shape]}")
    asked = asked.to(device=held.device, dtype=torch.int64)
    if asked.numel():
        low, high = (int(value) for value in asked.aminmax())
        if low < -1 or high >= size:
            raise ShapeError(f"{expected}, got {low} to {high}")
    asked = asked.expand(batch_size, -1) if asked.dim() == 1 else asked
    shape, asked = asked.shape, asked.flatten(1)
    order: Any = getattr(state, "order", None)
    base = getattr(order, "base", None)
    places = asked if base is None else order.find(asked)
    there = (places >= 0) & (places < room)
    found = held.detach().take_along_dim(places.where(there, 0).unsqueeze(2), 1)
    found = found.masked_fill(~there.unsqueeze(2), 0.0)
    if base is not None:
        shared = (places < 0) & (asked >= 0) & (asked < len(base))
        found[shared] = base.words_at(asked[shared], dtype=found.dtype)
    return found.view(*shape, held.shape[2])
