"""How often something has occurred before, at every step of every sequence at once."""

import torch
from torch import Tensor


def counts_before(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """How often the key of a step has occurred before it, and the sum of the values there.

    Steps are sorted by their keys; within a key they keep their order.

    Args:
        keys: [T, B] int64.
        values: [T, B] int64.

    Returns:
        Counts and sums, [T, B] int64 each.

    Cost: O(T log(T) B) time.
    """
    order = keys.argsort(dim=0, stable=True)
    ordered, own = keys.gather(0, order), values.gather(0, order)
    before = own.cumsum(0) - own
    place = torch.arange(len(keys), device=keys.device).unsqueeze(1).expand_as(keys)
    begins = torch.ones_like(ordered, dtype=torch.bool)
    begins[1:] = ordered[1:] != ordered[:-1]
    first = torch.where(begins, place, 0).cummax(0).values
    counts, sums = place - first, before - before.gather(0, first)
    empty = torch.empty_like(keys)
    return empty.scatter(0, order, counts), empty.scatter(0, order, sums)
