"""Short lists of slots with values: adding up repeats, keeping the largest."""

import torch
from torch import Tensor


def merge_repeats(slots: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Adds up the values of equal slots, at the first of them.

    Args:
        slots: int64 [B, J]; -1 for none.
        values: [B, J].

    Returns:
        Different slots and their sums, both [B, J]; -1 with value 0 elsewhere.

    Cost: O(B J^2).
    """
    same = slots.unsqueeze(2) == slots.unsqueeze(1)
    slots = slots.masked_fill(same.tril(-1).any(2), -1)
    total = torch.bmm(same.to(values.dtype), values.unsqueeze(2)).squeeze(2)
    return slots, total.masked_fill_(slots < 0, 0.0)


def descending(values: Tensor) -> tuple[Tensor, Tensor]:
    """Values [..., M] from the largest on and where they stood; equal ones stay in order."""
    return values.sort(stable=True, dim=-1, descending=True)


def add_and_keep(
    slots: Tensor, values: Tensor, new_slots: Tensor, new_values: Tensor, count: int
) -> tuple[Tensor, Tensor]:
    """Adds values to a list and keeps the largest.

    Of equal values those that nothing was added to come first, in their order, then the others. As
    all slots that are not listed have the value 0, no negative one is among the largest.

    Args:
        slots: different ones, int64 [X, M]; -1 for none, any number of times.
        values: 0 at slot -1, [X, M].
        new_slots: the same, [X, J].
        new_values: the same, [X, J].
        count: K, at most M + J.

    Returns:
        Slots and values from the largest on, both [X, K]; slot -1 wherever the value is 0.

    Cost: O(X M J).
    """
    known = slots.unsqueeze(2) == new_slots.unsqueeze(1)
    total = torch.baddbmm(new_values.unsqueeze(1), values.unsqueeze(1), known.to(values.dtype))
    values = torch.cat([values.masked_fill(known.any(2), 0.0), total.squeeze(1)], 1)
    values, order = descending(values)
    values, order = values.narrow(1, 0, count).clamp_(min=0), order.narrow(1, 0, count)
    slots = torch.cat([slots, new_slots], 1).gather(1, order)
    return slots.masked_fill_(values == 0, -1), values
